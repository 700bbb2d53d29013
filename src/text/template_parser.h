// The text of a chat template (Jinja) as a tree. White space around blocks is treated as transformers sets it:
// trim_blocks and lstrip_blocks. See https://jinja.palletsprojects.com/templates/ for the language.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template_value.h"

namespace fovea::text {

struct TemplateNode;
using TemplateNodePtr = std::unique_ptr<TemplateNode>;
using TemplateBody = std::vector<TemplateNodePtr>;

struct TemplateNode {
  enum class Kind {
    // statements
    kOutput,       // items: expressions, printed one after the other
    kIf,           // items: conditions; bodies: one for each, and one more for else
    kFor,          // left: target; right: what is iterated; third: condition or null; bodies: each, else
    kSet,          // left: target; right: value
    kSetBlock,     // left: target; third: filter around the text or null; bodies[0]
    kMacro,        // name; keywords: parameters with defaults (null: none); bodies[0]
    kWith,         // keywords; bodies[0]
    kFilterBlock,  // left: a filter on kBlockText; bodies[0]
    kScope,        // bodies[0] with variables of its own
    kBreak,
    kContinue,
    // expressions
    kConstant,   // constant
    kName,       // name
    kBlockText,  // the text of the block around
    kList,       // items
    kTuple,      // items
    kDict,       // items: key, value, key, value, ...
    kAttribute,  // left.name; as a target: a field of a namespace
    kSubscript,  // left[right]
    kSlice,      // left, right, third: bounds and step, or null; only within kSubscript
    kCall,       // left(items, keywords)
    kFilter,     // left | name(items, keywords)
    kTest,       // left is name(items)
    kNot,        // left
    kNegate,     // left
    kPlus,       // left
    kAnd,        // left, right
    kOr,         // left, right
    kCompare,    // left; operators: name of each of items
    kBinary,     // name: + - * / // % **
    kConcat,     // items: ~
    kIfElse,     // left if right else third (null: undefined)
  };
  Kind kind;
  int line = 0;
  int depth = 1;
  std::string name;
  Value constant;
  TemplateNodePtr left, right, third;
  std::vector<TemplateNodePtr> items;
  std::vector<std::string> operators;
  std::vector<std::pair<std::string, TemplateNodePtr>> keywords;
  std::vector<TemplateBody> bodies;
};

// The statements of a template. Throws kCorruptData for text that is no template, naming `source` and the line,
// kUnimplemented for statements that are not supported (include, import, extends, block, call, ...),
// kResourceExhausted for a template that is too long or nested too deeply.
TemplateBody ParseTemplate(std::string_view source_text, const std::string& source);

// ---- between lexer and parser

struct TemplateToken {
  enum class Type {
    kData,
    kBlockBegin,
    kBlockEnd,
    kVariableBegin,
    kVariableEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Type type;
  int line;
  std::string text;  // data, name, operator, or the value of a string
  int64_t integer = 0;
  double number = 0.0;
};
std::vector<TemplateToken> LexTemplate(std::string_view source_text, const std::string& source);
[[noreturn]] void FailTemplate(const std::string& source, int line, const std::string& what);

}  // namespace fovea::text
