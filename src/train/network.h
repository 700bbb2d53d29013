// The network of a run: a model folder's, with the classes, picture size and first weights that the recipe asks for;
// and the folder it becomes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "media/preprocess.h"
#include "nn/entry.h"
#include "train/recipe.h"

namespace fovea::train {

struct Network {
  std::unique_ptr<models::Model> model;                 // parameters f32, contiguous, writable, owned by nobody else
  base::Config config = base::Config::Parse("{}", "");  // as it will be written
  std::string preprocess_text;                          // preprocessor_config.json, "" when the model has none
  media::PreprocessSpec preprocess;
  std::string base_folder;
  std::vector<std::string> class_names;
  std::vector<std::string> head;   // parameters whose shape depends on the number of classes
  std::vector<std::string> fresh;  // parameters that start from random numbers
};

// The classes of the recipe's model, by index; empty when it has none.
std::vector<std::string> ModelClasses(const Recipe& recipe);

// `classes`: names by index; empty keeps those of the model. A head for other classes than the model's starts fresh.
Network BuildNetwork(const Recipe& recipe, const std::vector<std::string>& classes);

// All values of the network by name, sharing memory.
std::map<std::string, Tensor> Values(models::Model& model);

// Writes `folder` in the Hugging Face layout: config, preprocessing, `values` as f32, the other files of the base model
// (tokenizer), and `card` as README.md.
void WriteModelFolder(const Network& network, const std::map<std::string, Tensor>& values, const std::string& folder,
                      const std::string& card);

}  // namespace fovea::train
