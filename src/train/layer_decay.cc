#include "train/layer_decay.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "base/strings.h"

namespace fovea::train {
namespace {

using Words = std::vector<std::string>;

bool IsNumber(const std::string& word) {
  return !word.empty() && std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
}

bool IsHead(const std::string& word) { return word == "classifier" || word == "head" || word == "heads"; }

struct Block {
  std::string list, key;  // "encoder.stages", "encoder.stages.1.layers.0"
};

std::optional<Block> BlockOf(const std::string& path) {
  const Words words = base::Split(path, '.');
  std::string list;
  for (size_t i = 0; i < words.size(); ++i) {
    if (IsHead(words[i])) return std::nullopt;
    if (i > 0 && IsNumber(words[i])) {
      std::string key = list + "." + words[i];
      const bool is_stage = i + 2 < words.size() && IsNumber(words[i + 2]) &&
                            (words[i + 1] == "layers" || words[i + 1] == "blocks" || words[i + 1] == "layer");
      if (is_stage) key += "." + words[i + 1] + "." + words[i + 2];
      return Block{.list = list, .key = key};
    }
    list += (i > 0 ? "." : "") + words[i];
  }
  return std::nullopt;
}

// Words that two names have in common at their start.
int64_t SharedWords(const std::string& a, const std::string& b) {
  const Words left = base::Split(a, '.'), right = base::Split(b, '.');
  int64_t shared = 0;
  while (static_cast<size_t>(shared) < std::min(left.size(), right.size()) &&
         left[static_cast<size_t>(shared)] == right[static_cast<size_t>(shared)])
    ++shared;
  return shared;
}

struct List {
  std::string name;
  size_t first;                          // where its first block stands in the order of Visit
  std::map<std::string, int64_t> depth;  // by key, 1 first
};

}  // namespace

std::map<std::string, double> LayerRates(models::Model& model, double decay) {
  struct Named {
    std::string path;
    int64_t size;
  };
  std::vector<Named> parameters;
  nn::ForEachParameter(model, [&](const std::string& path, nn::Parameter& parameter) {
    parameters.push_back({path, parameter.shape().numel()});
  });
  std::vector<List> lists;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto block = BlockOf(parameters[i].path);
    if (!block) continue;
    auto list = std::ranges::find_if(lists, [&](const List& l) { return l.name == block->list; });
    if (list == lists.end()) list = lists.insert(lists.end(), List{.name = block->list, .first = i, .depth = {}});
    list->depth.try_emplace(block->key, static_cast<int64_t>(list->depth.size()) + 1);
  }
  std::map<std::string, double> rates;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [path, size] = parameters[i];
    const auto block = BlockOf(path);
    const List* tower = nullptr;  // the list that this parameter stands beside
    for (const List& list : lists) {
      if (block ? list.name == block->list
                : tower == nullptr || SharedWords(list.name, path) > SharedWords(tower->name, path))
        tower = &list;
    }
    if (tower == nullptr) {
      rates[path] = 1.0;
      continue;
    }
    const auto blocks = static_cast<int64_t>(tower->depth.size());
    const bool is_before = size > 1 && (path.find("embed") != std::string::npos || i < tower->first);
    const int64_t depth = block ? tower->depth.at(block->key) : is_before ? 0 : blocks + 1;
    rates[path] = std::pow(decay, static_cast<double>(blocks + 1 - depth));
  }
  return rates;
}

}  // namespace fovea::train
