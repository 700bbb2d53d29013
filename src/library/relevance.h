// Where relevance stops, as statistics: from how far each picture stands out to how likely it is what was asked for.
//
// A search compares one query with N pictures. An unrelated picture's z (background.h) is about standard normal, so
// among N of them the best one alone may reach 2.5 of 100 and 4.3 of 100,000: a fixed limit would be wrong for most
// libraries. Benjamini and Hochberg (1995) bound the share of chance finds instead: with p_j the probability that an
// unrelated picture reaches the z of the j-th best, N p_j such pictures are expected among the j best, and
//
//   q_j = min over i >= j of N p_i / i
//
// is the share of chance finds in an answer that ends there. One match must stand out from all N pictures; where many
// fit (every second picture shows a dog), the limit falls by itself. A query that nothing fits has an empty answer but
// for a share of about kChanceShare of the cases.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::library {

// An answer ends where this share of it would be chance finds.
inline constexpr double kChanceShare = 0.2;
// z of unrelated pairs has slightly longer tails than a normal variable; z is divided by this.
inline constexpr double kTailScale = 1.15;

// Probability that a standard normal variable exceeds z.
double NormalTail(double z);

// Probability, 0..1, that each picture fits: 1 / (1 + q_j / kChanceShare), so that relevance stops at 0.5. `z`: those
// of the best pictures, best first; `pictures`: N, at least z.size().
std::vector<double> Probabilities(std::span<const double> z, int64_t pictures);

// The same for a picture that is not among the `rank` best.
double ProbabilityBelow(double z, int64_t rank, int64_t pictures);

// Where relevance stops for similarities of pictures to a picture, which have no background texts. `sample`:
// similarities to pictures from all over the library, which are mostly unrelated: their median is what is ordinary for
// this query, their median absolute deviation how much the ordinary varies. A hit is relevant when it lies three such
// deviations (as standard deviations) above ordinary, and in the upper half between ordinary and `best`, the best hit
// that is no copy of the query. Libraries below 16 pictures tell nothing of the ordinary: there only the second
// condition counts.
float RelevanceFloor(std::vector<float> sample, float best);

// The robust centre and spread that RelevanceFloor uses; the deviation is at least 0.01.
struct Ordinary {
  float median = 0, deviation = 0.01f;
};
Ordinary OrdinaryOf(std::vector<float> sample);

}  // namespace fovea::library
