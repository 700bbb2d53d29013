// What the tasks of `fovea eval` share.
#pragma once

#include <string>

#include "commands/common.h"
#include "fovea/eval.h"

namespace fovea::cli {

// What every task is given.
struct Job {
  const Arguments& arguments;
  Console& console;
  const EvaluateOptions& options;
};

double Rounded(double seconds);  // to milliseconds

// Adds [low, high], or nothing where there is no interval.
void AddInterval(Json& object, const std::string& name, const Interval& interval);

// "62.1 %", with "(60.0-64.2)" where there is an interval.
std::string WithInterval(double share, const Interval& interval, const Console& console);

// The tasks of eval_text.cc; each returns how many samples failed.
int64_t EvalCaption(const Job& job);
int64_t EvalVqa(const Job& job);
int64_t EvalPope(const Job& job);

}  // namespace fovea::cli
