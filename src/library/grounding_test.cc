// Things in texts, and what a caption becomes without those that are not there. Finding them in pictures is tested with
// the bundled model in tests/e2e/cli_caption_test.cc.
#include "fovea/grounding.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fovea {
namespace {

std::string Names(const std::string& text) {
  std::string names;
  for (const Mention& thing : ThingsIn(text)) {
    names += (names.empty() ? "" : ", ") + thing.name + (thing.is_plural ? "s:" : ":") + thing.kind;
    EXPECT_EQ(text.substr(thing.begin, thing.end - thing.begin), thing.phrase);
  }
  return names;
}

TEST(Things, AreFoundInSentences) {
  EXPECT_EQ(Names("A dog runs on the beach."), "dog:animal, beach:place");
  EXPECT_EQ(Names("two dogs and children"), "dogs:animal, childs:person");
  EXPECT_EQ(Names("a coffee table beside a traffic light"), "table:object, traffic light:object");
  EXPECT_EQ(Names("Three men with a hot dog"), "mans:person, hot dog:food");
  EXPECT_EQ(Names("people look at it"), "persons:person");
  EXPECT_EQ(Names("running and jumping very fast in blue"), "");
  EXPECT_EQ(Names(""), "");
  EXPECT_EQ(ThingsIn("the coffee table").at(0).phrase, "coffee table");
}

TEST(Things, AreAssumedByQuestions) {
  const auto assumed = [](const std::string& question) {
    std::string names;
    for (const Mention& thing : AssumedThings(question)) names += (names.empty() ? "" : ", ") + thing.name;
    return names;
  };
  EXPECT_EQ(assumed("What colour is the elephant?"), "elephant");
  EXPECT_EQ(assumed("What is the little old man holding in his hand?"), "man");
  EXPECT_EQ(assumed("What is on the table beside the cup?"), "table, cup");
  EXPECT_EQ(assumed("Is there a dog?"), "");
  EXPECT_EQ(assumed("Are there any dogs in the street?"), "");  // places are not looked for
  EXPECT_EQ(assumed("What animal is this?"), "");
  EXPECT_EQ(assumed("How many people are there?"), "");
}

std::string Without(const std::string& text, const std::vector<std::string>& unsupported) {
  std::vector<Match> matches;
  for (Mention& thing : ThingsIn(text)) {
    Match match;
    match.is_supported = std::ranges::find(unsupported, thing.name) == unsupported.end();
    match.thing = std::move(thing);
    matches.push_back(std::move(match));
  }
  return WithoutUnsupported(text, matches);
}

TEST(Things, AreCutOutWhereTheSentenceCanDoWithoutThem) {
  EXPECT_EQ(Without("a motorcycle is parked beside a dog.", {"dog"}), "a motorcycle is parked.");
  EXPECT_EQ(Without("a woman in front of a flag and a rocket.", {"rocket"}), "a woman in front of a flag.");
  EXPECT_EQ(Without("a woman stands in front of a small flag on a beach", {"flag"}), "a woman stands on a beach");
  EXPECT_EQ(Without("a man holding a dog next to a car", {"dog", "car"}), "a man");
  EXPECT_EQ(Without("a woman in a white suit.", {"suit"}), "a woman.");
  // What carries the sentence stays.
  EXPECT_EQ(Without("a dog runs on the grass", {"dog"}), "a dog runs on the grass");
  EXPECT_EQ(Without("a dog and a cat sleep", {"cat"}), "a dog and a cat sleep");
  EXPECT_EQ(Without("a dog", {}), "a dog");
}

}  // namespace
}  // namespace fovea
