#include "formats/npy.h"

#include <charconv>
#include <numeric>
#include <vector>

#include "base/file.h"
#include "formats/bytes.h"

namespace fovea::formats {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint32_t kMaxHeaderBytes = 65535;  // what version 1 can hold; real headers have about 100
constexpr size_t kAlignment = 64;

struct TypeCode {
  std::string_view code;
  DType dtype;
};
constexpr TypeCode kTypes[] = {{"f4", DType::kF32}, {"f8", DType::kF64}, {"f2", DType::kF16},
                               {"i8", DType::kI64}, {"i4", DType::kI32}, {"i2", DType::kI16},
                               {"i1", DType::kI8},  {"u1", DType::kU8},  {"b1", DType::kBool}};

struct Header {
  std::string descr;
  bool is_fortran_order = false;
  std::vector<int64_t> shape;
};

// Reads the header, which is a Python dictionary of three known keys: {'descr': '<f4', 'fortran_order': False, 'shape':
// (3, 4), }.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  Header Parse() {
    Header header;
    bool has_descr = false, has_order = false, has_shape = false;
    Expect('{');
    while (!Accept('}')) {
      const std::string key = QuotedText();
      Expect(':');
      if (key == "descr" && !has_descr) {
        has_descr = true;
        SkipSpace();
        if (!text_.starts_with('\'') && !text_.starts_with('"')) {
          Fail(ErrorCode::kUnimplemented, "[npy] ", source_, " holds records with fields, which are not supported");
        }
        header.descr = QuotedText();
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        header.is_fortran_order = AcceptWord("True");
        if (!header.is_fortran_order) Check(AcceptWord("False"), "True or False");
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        header.shape = IntegerTuple();
      } else {
        Check(false, "'descr', 'fortran_order' and 'shape' once each");
      }
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    SkipSpace();
    Check(text_.empty() && has_descr && has_order && has_shape,
          "'descr', 'fortran_order' and 'shape' and nothing else");
    return header;
  }

 private:
  void Check(bool condition, std::string_view expected) const {
    RequireData(condition, "[npy] expected ", expected, " in the header of ", source_, ", got \"",
                base::PrintableUtf8(text_.substr(0, 40)), "\"");
  }
  void SkipSpace() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t')) text_.remove_prefix(1);
  }
  bool AcceptWord(std::string_view word) {
    SkipSpace();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  bool Accept(char c) { return AcceptWord({&c, 1}); }
  void Expect(char c) { Check(Accept(c), std::string("'") + c + "'"); }

  std::string QuotedText() {
    SkipSpace();
    Check(text_.starts_with('\'') || text_.starts_with('"'), "a quoted text");
    const size_t end = text_.find(text_[0], 1);
    Check(end != std::string_view::npos, "the end of a quoted text");
    const std::string quoted(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return quoted;
  }

  std::vector<int64_t> IntegerTuple() {
    std::vector<int64_t> integers;
    Expect('(');
    while (!Accept(')')) {
      SkipSpace();
      int64_t value = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
      Check(error == std::errc() && integers.size() < Shape::kMaxRank, "at most 8 integers");
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      integers.push_back(value);
      if (!Accept(',')) {
        Expect(')');
        break;
      }
    }
    return integers;
  }

  std::string_view text_;
  const std::string& source_;
};

DType TypeOfDescr(const std::string& descr, const std::string& source) {
  for (const TypeCode& type : kTypes) {
    const bool has_order =
        descr.size() == 3 && (descr[0] == '<' || (ItemSize(type.dtype) == 1 && (descr[0] == '|' || descr[0] == '>')));
    if (has_order && descr.substr(1) == type.code) return type.dtype;
  }
  const char* reason = descr.starts_with('>') ? " (big endian)" : descr.ends_with("O") ? " (Python objects)" : "";
  Fail(ErrorCode::kUnimplemented, "[npy] ", source, " has elements of type '", base::PrintableUtf8(descr.substr(0, 40)),
       "'", reason, ", which is not supported; hint: little-endian f4 f8 f2 i8 i4 i2 i1 u1 b1 are");
}

}  // namespace

Tensor ReadNpy(const std::string& path) {
  const auto mapped = base::MappedFile::Open(path);
  return ParseNpy(mapped->bytes(), base::PrintableUtf8(path), mapped);
}

Tensor ParseNpy(std::span<const uint8_t> bytes, const std::string& source, std::shared_ptr<const void> owner) {
  ByteCursor cursor(bytes, "npy", source);
  RequireData(cursor.remaining() >= kMagic.size() && cursor.TakeText(kMagic.size()) == kMagic, "[npy] ", source,
              " is not a .npy file");
  const int major = cursor.Read<uint8_t>(), minor = cursor.Read<uint8_t>();
  if (major < 1 || major > 3 || minor != 0) {
    Fail(ErrorCode::kUnimplemented, "[npy] expected version 1.0, 2.0 or 3.0 of ", source, ", got ", major, ".", minor);
  }
  const uint32_t header_bytes = major == 1 ? cursor.Read<uint16_t>() : cursor.Read<uint32_t>();
  if (header_bytes > kMaxHeaderBytes) {
    Fail(ErrorCode::kResourceExhausted, "[npy] ", source, " declares a header of ", header_bytes,
         " bytes, the limit is ", kMaxHeaderBytes);
  }
  const Header header = HeaderParser(cursor.TakeText(header_bytes), source).Parse();
  const DType dtype = TypeOfDescr(header.descr, source);
  const Shape shape = CheckedShape(header.shape, "npy", source);
  const auto data = cursor.Take(cursor.remaining());
  if (!header.is_fortran_order || shape.rank() < 2) return TensorFromBytes(data, shape, dtype, owner, "npy", source);
  // Fortran order is the transposed array in C order.
  const std::vector<int64_t> reversed(std::make_reverse_iterator(shape.end()),
                                      std::make_reverse_iterator(shape.begin()));
  std::vector<int> order(reversed.size());
  std::iota(order.rbegin(), order.rend(), 0);
  return TensorFromBytes(data, Shape(reversed), dtype, owner, "npy", source).Permuted(order).Contiguous();
}

void WriteNpy(const std::string& path, const Tensor& tensor) {
  Require(tensor.defined(), "[npy] expected a tensor, got an undefined one");
  const auto* type =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeCode& t) { return t.dtype == tensor.dtype(); });
  Require(type != std::end(kTypes), "[npy] expected a type that NumPy has, got ", tensor.dtype(),
          "; hint: convert to f32");
  const Tensor dense = tensor.Contiguous();
  std::string header = base::StrCat("{'descr': '", ItemSize(tensor.dtype()) == 1 ? "|" : "<", type->code,
                                    "', 'fortran_order': False, 'shape': (", base::Join(dense.shape()),
                                    dense.rank() == 1 ? ",), }" : "), }");
  const size_t prefix_bytes = kMagic.size() + 2 + sizeof(uint16_t);
  const size_t total_bytes = (prefix_bytes + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(total_bytes - prefix_bytes - 1, ' ');
  header += '\n';
  std::string start(kMagic);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
  start += header;
  const std::span<const uint8_t> pieces[] = {{reinterpret_cast<const uint8_t*>(start.data()), start.size()},
                                             {dense.raw(), static_cast<size_t>(dense.size_bytes())}};
  base::WriteFileAtomically(path, pieces);
}

}  // namespace fovea::formats
