# The table of architectures is the content of src/models: each <model_type>.cc defines
#   const Entry& fovea::models::<model_type>_entry();
# and this file generates the list that runtime/ walks. Adding a model edits no other file.
file(GLOB FOVEA_MODEL_FILES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/models/*.cc)
list(FILTER FOVEA_MODEL_FILES EXCLUDE REGEX "_test\\.cc$")
set(declarations "")
set(calls "")
foreach(file ${FOVEA_MODEL_FILES})
  get_filename_component(name ${file} NAME_WE)
  string(APPEND declarations "const Entry& ${name}_entry();\n")
  string(APPEND calls "      &${name}_entry(),\n")
endforeach()
set(FOVEA_MODEL_TABLE ${CMAKE_BINARY_DIR}/generated/model_table.cc)
file(CONFIGURE OUTPUT ${FOVEA_MODEL_TABLE} CONTENT
"// Generated from the content of src/models by cmake/models.cmake.
#include <vector>\n\n#include \"nn/entry.h\"

namespace fovea::models {

${declarations}
std::span<const Entry* const> AllEntries() {
  static const std::vector<const Entry*> entries = {
${calls}  };
  return entries;
}

}  // namespace fovea::models
")
