// PyTorch checkpoints (.pth, .pt, .bin), read without running them.
//
// Both layouts of torch.save: the zip archive (since 1.6: PREFIX/data.pkl and PREFIX/data/KEY) and the older sequence
// of pickles with the storages behind. The pickle is read as data (formats/pickle.h); the only calls that are given a
// meaning are those that build tensors and parameters. Anything else is refused by name: "[pth] model.pth asks for
// os.system, which is not allowed".
//
// Tensors that are contiguous and aligned point into the file; strided views are copied. Not read: TorchScript
// archives, sparse, quantised and complex tensors, big-endian files, the tar layout of PyTorch before 0.1.10.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/named_tensor.h"

namespace fovea::formats {

struct PthOptions {
  // Read only what lies below this key, e.g. "state_dict" or "checkpoint.model"; names then start below it.
  std::string select = {};
};

// All tensors of a checkpoint in the order they were saved. Nested dictionaries and lists become dotted names:
// {"state_dict": {"a": t}} gives "state_dict.a", a tensor saved alone gives "". Numbers, texts and other values beside
// the tensors are skipped. Throws kNotFound (the file or `select`), kCorruptData, kUnimplemented (a function, opcode,
// type or layout that is not read), kResourceExhausted.
std::vector<NamedTensor> ReadPth(const std::string& path, const PthOptions& options = {});

// The same from bytes in memory, called `source` in errors. Tensors point into `bytes` and keep `owner` alive; without
// an owner they are copies.
std::vector<NamedTensor> ParsePth(std::span<const uint8_t> bytes, const std::string& source,
                                  std::shared_ptr<const void> owner = nullptr, const PthOptions& options = {});

}  // namespace fovea::formats
