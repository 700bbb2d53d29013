// Any bytes as text, through tokenizers that use every kind of part. What comes out is valid: ids of the vocabulary,
// lists of one length.
#include <string_view>

#include "fuzzing.h"
#include "text/tokenizer.h"

namespace {

constexpr const char* kTokenizers[] = {
    R"({"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
        "pre_tokenizer":{"type":"BertPreTokenizer"},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
        "post_processor":{"type":"BertProcessing","sep":["s",1],"cls":["c",2]},
        "model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"##","max_input_chars_per_word":100,
                 "vocab":{"u":0,"s":1,"c":2,"a":3,"##b":4,"##e":5}}})",
    R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},
        {"type":"Lowercase"}]},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","invert":false,
          "pattern":{"Regex":"(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
          {"type":"ByteLevel","add_prefix_space":true}]},"decoder":{"type":"ByteLevel"},
        "added_tokens":[{"content":"<a>","single_word":true,"lstrip":true,"rstrip":true,"normalized":false,"special":true}],
        "model":{"type":"BPE","unk_token":"u","vocab":{"u":0,"a":1,"b":2,"ab":3,"\u0120":4,"\u0120a":5},"merges":["a b","\u0120 a"]}})",
    R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"NFKC"},{"type":"Strip","strip_left":true,"strip_right":true}]},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"Digits","individual_digits":true},
          {"type":"Metaspace","replacement":"\u2581","prepend_scheme":"first"}]},
        "decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace","replacement":"\u2581"}]},
        "model":{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[["u",0],["a",-1],["ab",-1.5],["\u2581",-2]]}})"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  static const auto* tokenizers = [] {
    auto* list = new std::vector<std::shared_ptr<const text::Tokenizer>>;
    for (const char* json : kTokenizers) list->push_back(text::Tokenizer::FromJson(json, "built in"));
    return list;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& tokenizer : *tokenizers) {
    const auto encoding = tokenizer->Encode(text);
    if (encoding.ids.size() != encoding.type_ids.size() || encoding.ids.size() != encoding.special.size())
      __builtin_trap();
    for (const int64_t id : encoding.ids) {
      if (tokenizer->IdToToken(id).empty()) __builtin_trap();
    }
    tokenizer->Decode(encoding.ids, false);
  }
  return 0;
}
