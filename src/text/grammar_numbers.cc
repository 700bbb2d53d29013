// Numbers within bounds as expressions over their digits. Those with a fraction have at most 15 digits, so that a
// reader with doubles gets what was written and compares it with the bound as the text does.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/grammar_builder.h"

namespace fovea::text {
namespace {

using Id = GrammarBuilder::Id;

constexpr int kMostDigits = 15;
constexpr int64_t kBeyond = 1'000'000'000'000'000;  // the first number of more digits

// A number without its sign, as digits.
struct Decimal {
  int64_t whole = 0;
  std::string fraction;  // without zeros at its end
  bool is_exclusive = false;
};

// The digits of |value| without an exponent.
std::string FixedText(double value) {
  char text[400];
  const auto end = std::to_chars(text, text + sizeof(text), std::abs(value), std::chars_format::fixed);
  return {text, end.ptr};
}

Decimal DecimalOf(const NumberBound& bound) {
  const std::string digits = FixedText(bound.value);
  const size_t point = std::min(digits.find('.'), digits.size());
  Decimal decimal{.whole = std::stoll(digits.substr(0, point)), .fraction = {}, .is_exclusive = bound.is_exclusive};
  if (point < digits.size()) decimal.fraction = digits.substr(point + 1);
  while (decimal.fraction.ends_with('0')) decimal.fraction.pop_back();
  return decimal;
}

class Numbers {
 public:
  explicit Numbers(GrammarBuilder& builder) : builder_(builder) {}

  // Whole numbers without a sign.
  Id Natural(int64_t low, int64_t high) {
    std::vector<Id> parts;
    int64_t power = 10;
    for (int length = 1; length <= kMostDigits + 1 && low <= high; ++length, power *= 10) {
      const int64_t last = std::min(high, power - 1);
      if (low > last) continue;
      parts.push_back(SameLength(std::to_string(low), std::to_string(last)));
      low = last + 1;
    }
    return builder_.Choice(std::move(parts));
  }

  // Numbers without a sign between two bounds.
  Id Size(const Decimal& low, const Decimal& high) {
    const auto room = [](int64_t whole) { return kMostDigits - static_cast<int>(std::to_string(whole).size()); };
    const auto with = [&](int64_t whole, const Decimal* least, const Decimal* most) {
      return builder_.Sequence({Text(std::to_string(whole)), Fraction(least, most, room(whole))});
    };
    if (low.whole == high.whole) return with(low.whole, &low, &high);
    std::vector<Id> parts = {with(low.whole, &low, nullptr)};
    if (high.whole < kBeyond) parts.push_back(with(high.whole, nullptr, &high));
    int64_t first = low.whole + 1, power = 10;
    for (int digits = 1; digits <= kMostDigits && first < high.whole; ++digits, power *= 10) {
      const int64_t last = std::min(high.whole, power) - 1;
      if (first > last) continue;
      parts.push_back(builder_.Sequence(
          {SameLength(std::to_string(first), std::to_string(last)), Fraction(nullptr, nullptr, kMostDigits - digits)}));
      first = last + 1;
    }
    return builder_.Choice(std::move(parts));
  }

 private:
  Id Text(std::string_view text) { return builder_.Literal(text); }
  Id Digits(int64_t least, int64_t most) {
    return builder_.Repeat(builder_.Character({{'0', '9'}}, false, false), least, most);
  }
  // Numbers of as many digits as both bounds have.
  Id SameLength(const std::string& low, const std::string& high) {
    if (low.empty()) return builder_.Empty();
    const auto count = static_cast<int64_t>(low.size()) - 1;
    const std::string zeros(static_cast<size_t>(count), '0'), nines(static_cast<size_t>(count), '9');
    const std::string low_rest = low.substr(1), high_rest = high.substr(1);
    if (low[0] == high[0]) return builder_.Sequence({Text(low.substr(0, 1)), SameLength(low_rest, high_rest)});
    std::vector<Id> parts;
    auto first = static_cast<char32_t>(low[0]), last = static_cast<char32_t>(high[0]);
    if (low_rest != zeros) {
      parts.push_back(builder_.Sequence({Text(low.substr(0, 1)), SameLength(low_rest, nines)}));
      ++first;
    }
    if (high_rest != nines) {
      parts.push_back(builder_.Sequence({Text(high.substr(0, 1)), SameLength(zeros, high_rest)}));
      --last;
    }
    if (first <= last)
      parts.push_back(builder_.Sequence({builder_.Character({{first, last}}, false, false), Digits(count, count)}));
    return builder_.Choice(std::move(parts));
  }
  // Nothing, or a point and at most `room` digits.
  Id Fraction(const Decimal* low, const Decimal* high, int room) {
    const bool fits = (low == nullptr || (low->fraction.empty() && !low->is_exclusive)) &&
                      (high == nullptr || !high->fraction.empty() || !high->is_exclusive);
    std::vector<Id> parts;
    if (fits) parts.push_back(builder_.Empty());
    if (room > 0) parts.push_back(builder_.Sequence({Text("."), FractionDigits(low, high, 0, room)}));
    return builder_.Choice(std::move(parts));
  }
  // Digits from the place `at` on, at least one. A bound that the digits so far have left behind is null. Where nothing
  // is left the choice is empty, and the builder leaves out what leads there.
  Id FractionDigits(const Decimal* low, const Decimal* high, size_t at, int room) {
    const auto digit_at = [&](const Decimal* bound) {
      return at < bound->fraction.size() ? static_cast<char32_t>(bound->fraction[at]) : U'0';
    };
    if (low == nullptr && high == nullptr) return Digits(1, room);
    const char32_t first = low != nullptr ? digit_at(low) : U'0', last = high != nullptr ? digit_at(high) : U'9';
    std::vector<Id> parts;
    const auto add = [&](char32_t from, char32_t to, const Decimal* least, const Decimal* most) {
      if (from > to) return;
      const bool may_end = (least == nullptr || (at + 1 >= least->fraction.size() && !least->is_exclusive)) &&
                           (most == nullptr || at + 1 < most->fraction.size() || !most->is_exclusive);
      std::vector<Id> rest;
      if (may_end) rest.push_back(builder_.Empty());
      if (room > 1) rest.push_back(FractionDigits(least, most, at + 1, room - 1));
      parts.push_back(
          builder_.Sequence({builder_.Character({{from, to}}, false, false), builder_.Choice(std::move(rest))}));
    };
    if (low != nullptr && high != nullptr && first == last) {
      add(first, last, low, high);
    } else {
      if (low != nullptr) add(first, first, low, nullptr);
      add(first + (low != nullptr ? 1 : 0), last - (high != nullptr ? 1 : 0), nullptr, nullptr);
      if (high != nullptr && first <= last) add(last, last, nullptr, high);
    }
    return builder_.Choice(std::move(parts));
  }

  GrammarBuilder& builder_;
};

}  // namespace

bool IsWrittenExactly(double value) {
  const std::string digits = FixedText(value);
  return std::ranges::count_if(digits, [](char c) { return c != '.'; }) <= kMostDigits;
}

Id IntegerExpression(GrammarBuilder& builder, int64_t low, int64_t high) {
  std::vector<Id> parts;
  if (low < 0) {
    const Id size = Numbers(builder).Natural(std::max<int64_t>(1, -std::min<int64_t>(high, -1)), -low);
    parts.push_back(builder.Sequence({builder.Literal("-"), size}));
  }
  if (high >= 0) parts.push_back(Numbers(builder).Natural(std::max<int64_t>(low, 0), high));
  return builder.Choice(std::move(parts));
}

Id NumberExpression(GrammarBuilder& builder, const std::optional<NumberBound>& low,
                    const std::optional<NumberBound>& high) {
  const Decimal beyond{.whole = kBeyond, .fraction = {}, .is_exclusive = true};
  std::vector<Id> parts;
  if (!low || low->value < 0) {
    // 0 is written without a sign.
    const Decimal least = DecimalOf(high && high->value < 0 ? *high : NumberBound{0, true});
    const Id size = Numbers(builder).Size(least, low ? DecimalOf(*low) : beyond);
    parts.push_back(builder.Sequence({builder.Literal("-"), size}));
  }
  if (!high || high->value >= 0) {
    const Decimal least = DecimalOf(low && low->value >= 0 ? *low : NumberBound{0, false});
    parts.push_back(Numbers(builder).Size(least, high ? DecimalOf(*high) : beyond));
  }
  return builder.Choice(std::move(parts));
}

}  // namespace fovea::text
