#pragma once
#include <span>
namespace fovea::models {
struct Entry;
std::span<const Entry* const> AllEntries();
}
