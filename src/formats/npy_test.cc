#include "formats/npy.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::formats {
namespace {

Tensor Golden(const std::string& name) { return ReadNpy(testing::SourcePath("tests/golden/formats/" + name)); }

Tensor Ramp(const Shape& shape, float scale, float bias) {
  Tensor ramp = Tensor::Empty(shape);
  for (int64_t i = 0; i < ramp.numel(); ++i) ramp.mutable_data<float>()[i] = static_cast<float>(i) * scale + bias;
  return ramp;
}

std::vector<uint8_t> FileOf(const std::string& header, size_t data_bytes) {
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  file += header + std::string(data_bytes, '\0');
  return {file.begin(), file.end()};
}

TEST(Npy, ReadsWhatNumPyWrote) {
  testing::ExpectClose(Golden("c_f32.npy"), Ramp({2, 3, 4}, 0.5f, -3), 0, "C order");
  const Tensor fortran = Golden("fortran_f64.npy");
  EXPECT_EQ(fortran.dtype(), DType::kF64);
  testing::ExpectClose(fortran, Ramp({2, 3, 4}, 0.5f, -3), 0, "Fortran order");
  EXPECT_EQ(Golden("f16.npy").dtype(), DType::kF16);
  testing::ExpectClose(Golden("f16.npy"), Ramp({24}, 0.5f, -3), 0, "f16");
  EXPECT_EQ(Golden("i64_scalar.npy").shape(), Shape({}));
  EXPECT_EQ(Golden("i64_scalar.npy").data<int64_t>()[0], -(int64_t{1} << 40));
  EXPECT_EQ(Golden("i32_empty.npy").shape(), Shape({3, 0, 2}));
  testing::ExpectClose(Golden("v2_i16.npy"), Ramp({24}, 1, 0), 0, "version 2");
  testing::ExpectClose(Golden("v3_u8.npy"), Ramp({24}, 1, 0), 0, "version 3");
  const Tensor flags = Golden("bool.npy");
  ASSERT_EQ(flags.shape(), Shape({4, 6}));
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(flags.data<bool>()[i], i % 3 == 0);
}

TEST(Npy, RefusesTypesByName) {
  for (const auto& [file, says] : {std::pair("big_endian.npy", "big endian"), std::pair("object.npy", "objects")}) {
    try {
      Golden(file);
      ADD_FAILURE() << file;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnimplemented);
      EXPECT_NE(error.message().find(says), std::string::npos) << error.message();
    }
  }
}

// NumPy writes exactly these bytes for the same arrays.
TEST(Npy, WritesTheBytesThatNumPyWrites) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"c_f32.npy", "f16.npy", "i64_scalar.npy", "i32_empty.npy", "bool.npy"}) {
    const std::string golden = testing::SourcePath(std::string("tests/golden/formats/") + name);
    WriteNpy(folder.File(name), ReadNpy(golden));
    EXPECT_EQ(base::ReadFile(folder.File(name), 1 << 20), base::ReadFile(golden, 1 << 20)) << name;
  }
  const std::vector<int> swap = {1, 0};
  const Tensor strided = testing::RandomNormal({3, 5}, 1).Permuted(swap);
  WriteNpy(folder.File("strided.npy"), strided);
  testing::ExpectClose(ReadNpy(folder.File("strided.npy")), strided.Contiguous(), 0);
  EXPECT_THROW(WriteNpy(folder.File("bf16.npy"), Tensor::Zeros({2}, DType::kBF16)), Error);
}

TEST(Npy, RefusesMalformedFiles) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
  EXPECT_NO_THROW(ParseNpy(FileOf(good, 8), "good"));
  const std::pair<std::string, size_t> files[] = {
      {good, 7},
      {good, 9},
      {"", 0},
      {"{'descr': '<f4', 'fortran_order': False}", 0},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8},
      {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + os.system('x')", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", 0},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2)}", 8},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8},
      {"{'descr': '<u4', 'fortran_order': False, 'shape': (2,)}", 8},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8},
      {"{'descr': '<f4", 8},
  };
  for (const auto& [header, data_bytes] : files)
    EXPECT_THROW(ParseNpy(FileOf(header, data_bytes), "bad"), Error) << header;
  const std::vector<uint8_t> whole = FileOf(good, 8);
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(ParseNpy(std::span(whole).first(size), "cut"), Error) << size;
  std::vector<uint8_t> version = whole;
  version[6] = 4;
  EXPECT_THROW(ParseNpy(version, "version"), Error);
}

}  // namespace
}  // namespace fovea::formats
