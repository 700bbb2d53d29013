// Parameters of a model, and the one walk over them.
//
// Each module lists its parts once, in Visit, with the names of the tensors in the checkpoint:
//
//   struct Mlp {
//     Linear fc1, fc2;
//     void Visit(Visitor& v) { v("fc1", fc1); v("fc2", fc2); }
//   };
//
// Loading, saving, counting, converting and training all walk this list; there is no other. Modules are built with the
// shapes that the configuration asks for; values arrive by Assign.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/block_matrix/block_matrix.h"
#include "tensor/tensor.h"

namespace fovea::nn {

class Parameter {
 public:
  enum class Kind : uint8_t {
    kTrained,  // a weight
    kBuffer,   // state that is saved but not trained, e.g. running statistics
    kCounter,  // an i64 scalar that inference does not need and a checkpoint may lack, e.g. num_batches_tracked
  };

  Parameter() = default;
  explicit Parameter(const Shape& shape, Kind kind = Kind::kTrained) : shape_(shape), kind_(kind) {}
  // A weight that its layer reads through a packed copy in inference. It may stay in a compact type (f16) as the
  // checkpoint has it.
  static Parameter Packed(const Shape& shape) {
    Parameter parameter(shape);
    parameter.is_packed_ = true;
    return parameter;
  }

  const Shape& shape() const { return shape_; }
  Kind kind() const { return kind_; }
  bool is_packed() const { return is_packed_; }
  bool has_value() const { return value_.defined() || blocks_ != nullptr; }

  // The value: f32 or bf16 (also f16 when is_packed(), i64 for a counter). Throws kInternal when nothing was assigned,
  // kUnimplemented when the weights are blocks().
  const Tensor& value() const;
  operator const Tensor&() const { return value(); }

  // Replaces the value; the shape must be shape(). Whatever was derived from the old one (packed or folded weights) is
  // remade at next use.
  void Assign(Tensor value);
  // Keeps a matrix of blocks as it is; layers that can compute with them ask for blocks(). `is_transposed`: the matrix
  // is [O,I] where the parameter is [I,O].
  void AssignBlocks(std::shared_ptr<const kernels::BlockMatrix> blocks, bool is_transposed = false);
  // The matrix [O,I] when the weights are blocks, else nullptr.
  const kernels::BlockMatrix* blocks() const { return blocks_.get(); }
  // The value, or blocks as f32: for saving. Needs the memory that blocks spare.
  Tensor Dense() const;
  int64_t size_bytes() const { return blocks_ ? blocks_->size_bytes() : value_.defined() ? value_.size_bytes() : 0; }
  // Whether layers may round what they multiply this weight by to bf16, where that is faster (LoadOptions::precision).
  bool rounds_inputs() const { return rounds_inputs_; }
  void set_rounds_inputs(bool rounds_inputs) { rounds_inputs_ = rounds_inputs; }

  // To be called after writing into value() in place.
  void MarkChanged() const { ++version_; }
  uint64_t version() const { return version_; }

 private:
  Shape shape_;
  Kind kind_ = Kind::kTrained;
  bool is_packed_ = false;
  bool rounds_inputs_ = false;
  Tensor value_;
  std::shared_ptr<const kernels::BlockMatrix> blocks_;
  bool is_transposed_ = false;  // of the blocks
  mutable uint64_t version_ = 0;
};

// Walks a module tree in the order of its Visit functions. Derive and implement OnParameter.
class Visitor {
 public:
  virtual ~Visitor() = default;

  template <typename Part>
  void operator()(std::string_view name, Part& part) {
    const size_t length = path_.size();
    if (!path_.empty() && !name.empty()) path_ += '.';
    path_ += name;
    if constexpr (std::is_same_v<Part, Parameter>) {
      OnParameter(path_, part);
    } else {
      part.Visit(*this);
    }
    path_.resize(length);
  }

 protected:
  // `path`: the full name in the checkpoint, e.g. "encoder.layers.3.fc1.weight".
  virtual void OnParameter(const std::string& path, Parameter& parameter) = 0;

 private:
  std::string path_;
};

// A numbered sequence of modules: "0", "1", ...
template <typename Module>
class List : public std::vector<Module> {
 public:
  using std::vector<Module>::vector;
  void Visit(Visitor& v) {
    int64_t index = 0;
    for (Module& module : *this) v(std::to_string(index++), module);
  }
};

// A module that some configurations lack.
template <typename Module>
class Optional : public std::optional<Module> {
 public:
  using std::optional<Module>::optional;
  void Visit(Visitor& v) {
    if (this->has_value()) (*this)->Visit(v);
  }
};

// Calls `function(path, parameter)` for every parameter of `module`.
template <typename Module, typename Function>
void ForEachParameter(Module& module, Function&& function) {
  struct Walker final : Visitor {
    explicit Walker(Function& f) : function(f) {}
    void OnParameter(const std::string& path, Parameter& parameter) override { function(path, parameter); }
    Function& function;
  };
  Walker walker(function);
  module.Visit(walker);
}

}  // namespace fovea::nn
