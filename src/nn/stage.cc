#include "nn/stage.h"

namespace fovea::nn {
namespace {
thread_local const StageWatch::Function* active_watch = nullptr;
}

StageWatch::StageWatch(Function function) : function_(std::move(function)), outer_(active_watch) {
  active_watch = &function_;
}

StageWatch::~StageWatch() { active_watch = outer_; }

const StageWatch::Function* StageWatch::Active() { return active_watch; }

}  // namespace fovea::nn
