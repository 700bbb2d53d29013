#include "runtime/stop_filter.h"

#include <gtest/gtest.h>

namespace fovea::runtime {
namespace {

TEST(StopFilter, EndsBeforeTheFirstStopString) {
  StopFilter filter({"END", "\n\n"});
  EXPECT_EQ(filter.Push("one E"), "one ");
  EXPECT_EQ(filter.Push("N"), "");
  EXPECT_EQ(filter.Push("x"), "ENx");
  EXPECT_EQ(filter.Push("\n"), "");
  EXPECT_EQ(filter.Push("two\nthreeEN"), "\ntwo\nthree");
  EXPECT_FALSE(filter.has_stopped());
  EXPECT_EQ(filter.Push("D and more"), "");
  EXPECT_TRUE(filter.has_stopped());
  EXPECT_EQ(filter.Push("nothing"), "");
  EXPECT_EQ(filter.Finish(), "");
}

TEST(StopFilter, GivesBackWhatBecameNoStopString) {
  StopFilter filter({"aab"});
  EXPECT_EQ(filter.Push("aaa"), "a");  // "aa" may still become "aab"
  EXPECT_EQ(filter.Finish(), "aa");
  StopFilter none({""});
  EXPECT_EQ(none.Push("text"), "text");
}

}  // namespace
}  // namespace fovea::runtime
