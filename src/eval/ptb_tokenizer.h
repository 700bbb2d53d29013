// The words of a caption as the metrics of COCO count them: Penn Treebank tokens, lower case, without punctuation,
// equal to those of pycocoevalcap's PTBTokenizer (Stanford CoreNLP 3.4.1 with -preserveLines -lowerCase, then a list of
// punctuation taken out). Scores of other tokenisers cannot be compared with published ones.
//
//   CaptionTokens("The man isn't (yet) at John's.")  // the man is n't -lrb- yet -rrb- at john 's
//
// Brackets stay, as -lrb- and so on, because the reference removes them by their names in capitals, after lower case;
// "?!" and "!!!" stay too. On 52,000 sentences of seven data sets every token agrees. Not covered:
// markup tags, smileys, masked swear words, bytes of CP1252; and a caption that ends in a letter with a point, for
// which the reference looks at the first word of the next caption in its file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea::eval {

// Invalid UTF-8 becomes U+FFFD and is dropped, as any character that is no letter, digit or known symbol. A token holds
// no white space but U+00A0, inside fractions and telephone numbers ("2 1/2").
std::vector<std::string> CaptionTokens(std::string_view caption);

// The same for the metrics that split at any white space: tokens are split at U+00A0.
std::vector<std::string> SplitTokens(const std::vector<std::string>& tokens);

}  // namespace fovea::eval
