// Optional parts that live in modules of their own and are loaded when they are needed: what they bring along (BLAS,
// MPI) costs nothing until then, and Fovea runs without them.
#pragma once

#include <string>

namespace fovea::base {

// The function `entry` of the module `file`, looked for in the folder that FOVEA_MODULES names, beside the program, in
// ../lib/fovea from there, and in the system's lib/fovea; or, when `path` is given, there alone. nullptr when it is
// nowhere. `shares_symbols`: libraries that the module loads later see its own (RTLD_GLOBAL).
void* FindModuleEntry(const std::string& file, const char* entry, const std::string& path = "",
                      bool shares_symbols = false);

}  // namespace fovea::base
