// What goes into a decoder of text and what comes out: one function for training (under a tape, whole sequences), for
// prompts and for single steps.
//
// With caches, one a row, the linear layers run over all rows at once and attention runs row by row over each row's own
// length: rows need no padding, a batch equals its rows alone, and rows may join and leave between two calls.
//
// Legend: B rows, T tokens of this call, D width, V vocabulary, S length and M width of the memory.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "nn/decode_cache.h"
#include "tensor/tensor.h"

namespace fovea::models {

struct DecodeInputs {
  Tensor ids;         // i64 [B,T]; or embeddings
  Tensor embeddings;  // [B,T,D] in place of the vectors of words, as Model::EmbedTokens gives them (scaled, without
                      // positions), those of pictures put in by the caller
  Tensor mask;        // bool [B,T], without caches: true for tokens that exist; padding may stand on either side
  // i64 [B,T], or [3,B,T] for M-RoPE. Undefined: counted on from each cache's next_position; without caches counted
  // over the tokens that exist (padding gets 0).
  Tensor positions;
  Tensor memory;       // [B,S,M] states of an encoder or features of pictures, for cross-attention. With caches needed
                       // in the first call only; each cache keeps its projection
  Tensor memory_mask;  // bool [B,S]; undefined: all of it exists
  int64_t bidirectional = 0;  // the first so many tokens of this call see each other (a prefix of pictures)
  std::span<nn::DecodeCache* const> caches = {};  // one for each row, all different; empty: the whole sequence at once
  bool only_last = false;                         // logits of the last token (that exists) of each row only
};

struct DecodeOutputs {
  Tensor hidden;  // [B,T,D] the last hidden states, after the last norm
  Tensor logits;  // [B,T,V], or [B,1,V] with only_last
};

// Where the vectors that Model::EmbedImages makes of pictures go (nn/pictures.h puts them there).
enum class PicturePlace : uint8_t {
  kNone,     // it sees no pictures
  kMemory,   // they are what cross-attention reads
  kBefore,   // before the vectors of the text
  kTokens,   // in place of those of the tokens image_token_id
  kEncoder,  // an encoder reads them with the text (TextInputs::pictures); what it makes of both is the memory
};

// What a generator must know of a decoder. Ids are -1 where the configuration names none.
struct DecoderSpec {
  int64_t layers = 0, kv_heads = 0, key_dim = 0, value_dim = 0;  // of nn::CacheLayout
  std::vector<Shape> states;                                     // of nn::CacheLayout
  int64_t hidden_size = 0;                                       // D
  int64_t vocab = 0;                                             // V
  int64_t max_positions = 0;                                     // tokens of prompt and answer together
  int64_t bos = -1, pad = -1;
  std::vector<int64_t> eos;  // any of them ends a text
  bool is_encoder_decoder = false;
  int64_t decoder_start_token_id = -1;  // what an encoder-decoder begins with
  int64_t memory_size = 0;              // M; 0: it has no cross-attention
  PicturePlace pictures = PicturePlace::kNone;
  int64_t image_token_id = -1;           // stands for one vector of a picture (kTokens)
  bool pictures_see_each_other = false;  // kBefore: their vectors are the bidirectional prefix
  bool prompt_sees_itself = false;       // all tokens of a prompt are the bidirectional prefix
  bool pictures_have_positions = true;   // kBefore: false when the positions of the text begin at 0 behind them

  nn::CacheLayout Cache() const {
    return {.layers = layers, .kv_heads = kv_heads, .key_dim = key_dim, .value_dim = value_dim, .states = states};
  }
  // Reads bos_token_id, eos_token_id (a number or a list), pad_token_id, decoder_start_token_id. A key that is absent
  // leaves what is there. Throws kInvalidArgument for other values.
  void ReadSpecialTokens(const base::Config& config);
};

}  // namespace fovea::models
