#include "text/template_parser.h"

#include <algorithm>

#include "base/error.h"

namespace fovea::text {
namespace {

using Node = TemplateNode;
using NodePtr = TemplateNodePtr;
using Kind = TemplateNode::Kind;
using Type = TemplateToken::Type;

constexpr int kMaxNodeDepth = 200;
constexpr int kMaxNesting = 60;  // of brackets and blocks while parsing

class Parser {
 public:
  Parser(std::vector<TemplateToken> tokens, const std::string& source) : tokens_(std::move(tokens)), source_(source) {}

  TemplateBody Run() {
    TemplateBody body = Body({});
    if (Current().type != Type::kEnd) Broken("unexpected end tag");
    return body;
  }

 private:
  const TemplateToken& Current() const { return tokens_[at_]; }
  const TemplateToken& Following() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void Advance() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool IsOperator(std::string_view text) const { return Current().type == Type::kOperator && Current().text == text; }
  bool IsName(std::string_view text) const { return Current().type == Type::kName && Current().text == text; }
  bool TakeOperator(std::string_view text) { return IsOperator(text) && (Advance(), true); }
  bool TakeName(std::string_view text) { return IsName(text) && (Advance(), true); }
  void ExpectOperator(std::string_view text) {
    if (!TakeOperator(text)) Broken("expected \"" + std::string(text) + "\"");
  }
  std::string ExpectName() {
    if (Current().type != Type::kName) Broken("expected a name");
    std::string name = Current().text;
    Advance();
    return name;
  }
  void ExpectBlockEnd() {
    if (Current().type != Type::kBlockEnd) Broken("expected the end of the block");
    Advance();
  }
  [[noreturn]] void Broken(const std::string& what) const { FailTemplate(source_, Current().line, what); }

  struct Nesting {
    explicit Nesting(Parser& parser) : parser(parser) {
      if (++parser.nesting_ > kMaxNesting)
        Fail(ErrorCode::kResourceExhausted, "[chat template] ", parser.source_, ", line ", parser.Current().line,
             ": nested deeper than ", kMaxNesting);
    }
    ~Nesting() { --parser.nesting_; }
    Parser& parser;
  };

  NodePtr Make(Kind kind, std::string name = {}) const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->line = Current().line;
    node->name = std::move(name);
    return node;
  }
  // A node whose parts are complete.
  NodePtr Done(NodePtr node) const {
    int depth = 0;
    const auto count = [&](const NodePtr& part) {
      if (part != nullptr) depth = std::max(depth, part->depth);
    };
    count(node->left);
    count(node->right);
    count(node->third);
    std::for_each(node->items.begin(), node->items.end(), count);
    for (const auto& [name, part] : node->keywords) count(part);
    for (const TemplateBody& body : node->bodies) std::for_each(body.begin(), body.end(), count);
    node->depth = depth + 1;
    if (node->depth > kMaxNodeDepth) {
      Fail(ErrorCode::kResourceExhausted, "[chat template] ", source_, ", line ", node->line, ": nested deeper than ",
           kMaxNodeDepth);
    }
    return node;
  }
  NodePtr Unary(Kind kind, NodePtr left) const {
    NodePtr node = Make(kind);
    node->left = std::move(left);
    return Done(std::move(node));
  }
  NodePtr Binary(Kind kind, std::string name, NodePtr left, NodePtr right) const {
    NodePtr node = Make(kind, std::move(name));
    node->left = std::move(left);
    node->right = std::move(right);
    return Done(std::move(node));
  }
  NodePtr Constant(Value value) const {
    NodePtr node = Make(Kind::kConstant);
    node->constant = std::move(value);
    return node;
  }

  // ---- statements

  // Statements up to a block that starts with one of `ends`, which is left at its name; with none, up to the end.
  TemplateBody Body(const std::vector<std::string_view>& ends) {
    const Nesting nesting(*this);
    TemplateBody body;
    NodePtr output;
    const auto print = [&](NodePtr node) {
      if (output == nullptr) output = Make(Kind::kOutput);
      output->items.push_back(std::move(node));
    };
    const auto flush = [&] {
      if (output != nullptr) body.push_back(Done(std::move(output)));
    };
    while (Current().type != Type::kEnd) {
      if (Current().type == Type::kData) {
        print(Constant(Value::Template(Current().text)));
        Advance();
      } else if (Current().type == Type::kVariableBegin) {
        Advance();
        print(Tuple(false));
        if (Current().type != Type::kVariableEnd) Broken("expected \"}}\"");
        Advance();
      } else {
        Advance();  // {%
        if (Current().type != Type::kName) Broken("expected the name of a statement");
        if (std::find(ends.begin(), ends.end(), Current().text) != ends.end()) {
          flush();
          return body;
        }
        flush();
        body.push_back(Statement());
      }
    }
    flush();
    if (!ends.empty()) Broken("expected \"" + std::string(ends.back()) + "\" before the end");
    return body;
  }

  // A body and its end: {% endfor %}
  TemplateBody BodyTo(std::string_view end) {
    TemplateBody body = Body({end});
    Advance();
    ExpectBlockEnd();
    return body;
  }

  NodePtr Statement() {
    const std::string name = ExpectName();
    if (name == "if") return If();
    if (name == "for") return For();
    if (name == "set") return Set();
    if (name == "macro") return Macro();
    if (name == "with") return With();
    if (name == "filter") return FilterBlock();
    if (name == "generation") {  // marks what the assistant wrote, for training; prints the same
      NodePtr node = Make(Kind::kScope);
      ExpectBlockEnd();
      node->bodies.push_back(BodyTo("endgeneration"));
      return Done(std::move(node));
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) Broken("\"" + name + "\" outside of a loop");
      NodePtr node = Make(name == "break" ? Kind::kBreak : Kind::kContinue);
      ExpectBlockEnd();
      return node;
    }
    for (const std::string_view known :
         {"include", "import", "from", "extends", "block", "call", "do", "trans", "autoescape", "debug"}) {
      if (name == known)
        Fail(ErrorCode::kUnimplemented, "[chat template] ", source_, ", line ", Current().line, ": the statement \"",
             name, "\" is not supported");
    }
    Broken("unknown statement \"" + base::PrintableUtf8(name) + "\"");
  }

  NodePtr If() {
    NodePtr node = Make(Kind::kIf);
    while (true) {
      node->items.push_back(Tuple(false));
      ExpectBlockEnd();
      node->bodies.push_back(Body({"elif", "else", "endif"}));
      if (TakeName("elif")) continue;
      if (TakeName("else")) {
        ExpectBlockEnd();
        node->bodies.push_back(Body({"endif"}));
      }
      Advance();  // endif
      ExpectBlockEnd();
      return Done(std::move(node));
    }
  }

  NodePtr For() {
    NodePtr node = Make(Kind::kFor);
    node->left = Target(false);
    if (!TakeName("in")) Broken("expected \"in\"");
    node->right = Tuple(false, false);
    if (TakeName("if")) node->third = Expression();
    if (IsName("recursive"))
      Fail(ErrorCode::kUnimplemented, "[chat template] ", source_, ", line ", Current().line,
           ": a recursive loop is not supported");
    ExpectBlockEnd();
    ++loops_;
    node->bodies.push_back(Body({"else", "endfor"}));
    --loops_;
    if (TakeName("else")) {
      ExpectBlockEnd();
      node->bodies.push_back(Body({"endfor"}));
    }
    Advance();  // endfor
    ExpectBlockEnd();
    return Done(std::move(node));
  }

  NodePtr Set() {
    NodePtr target = Target(true);
    if (TakeOperator("=")) {
      NodePtr node = Make(Kind::kSet);
      node->left = std::move(target);
      node->right = Tuple(false);
      ExpectBlockEnd();
      return Done(std::move(node));
    }
    NodePtr node = Make(Kind::kSetBlock);
    node->left = std::move(target);
    if (IsOperator("|")) node->third = Filters(Make(Kind::kBlockText));
    ExpectBlockEnd();
    node->bodies.push_back(BodyTo("endset"));
    return Done(std::move(node));
  }

  NodePtr Macro() {
    NodePtr node = Make(Kind::kMacro, ExpectName());
    ExpectOperator("(");
    while (!IsOperator(")")) {
      if (!node->keywords.empty()) ExpectOperator(",");
      std::string name = ExpectName();
      NodePtr fallback;
      if (TakeOperator("=")) {
        fallback = Expression();
      } else if (!node->keywords.empty() && node->keywords.back().second != nullptr) {
        Broken("a parameter without a default behind one that has one");
      }
      node->keywords.emplace_back(std::move(name), std::move(fallback));
    }
    Advance();
    ExpectBlockEnd();
    const int loops = std::exchange(loops_, 0);
    node->bodies.push_back(BodyTo("endmacro"));
    loops_ = loops;
    return Done(std::move(node));
  }

  NodePtr With() {
    NodePtr node = Make(Kind::kWith);
    while (Current().type != Type::kBlockEnd) {
      if (!node->keywords.empty()) ExpectOperator(",");
      std::string name = ExpectName();
      ExpectOperator("=");
      node->keywords.emplace_back(std::move(name), Expression());
    }
    ExpectBlockEnd();
    node->bodies.push_back(BodyTo("endwith"));
    return Done(std::move(node));
  }

  NodePtr FilterBlock() {
    NodePtr node = Make(Kind::kFilterBlock);
    node->left = Filters(Filter(Make(Kind::kBlockText)));
    ExpectBlockEnd();
    node->bodies.push_back(BodyTo("endfilter"));
    return Done(std::move(node));
  }

  // What is assigned to: names, a tuple of names, or a field of a namespace.
  NodePtr Target(bool takes_field) {
    const bool has_brackets = TakeOperator("(");
    NodePtr first = TargetName(takes_field);
    if (IsOperator(",")) {
      NodePtr tuple = Make(Kind::kTuple);
      tuple->items.push_back(std::move(first));
      while (TakeOperator(",")) {
        if (Current().type != Type::kName || IsName("in")) break;
        tuple->items.push_back(TargetName(takes_field));
      }
      first = Done(std::move(tuple));
    }
    if (has_brackets) ExpectOperator(")");
    return first;
  }
  NodePtr TargetName(bool takes_field) {
    for (const char* word : {"true", "false", "none", "True", "False", "None"}) {
      if (IsName(word)) Broken(std::string("cannot assign to \"") + word + "\"");
    }
    NodePtr name = Make(Kind::kName, ExpectName());
    if (!takes_field || !TakeOperator(".")) return name;
    NodePtr field = Make(Kind::kAttribute, ExpectName());
    field->left = std::move(name);
    return Done(std::move(field));
  }

  // ---- expressions

  bool AtEnd() const {
    return Current().type == Type::kVariableEnd || Current().type == Type::kBlockEnd || IsOperator(")");
  }
  // An expression, or several with commas between.
  NodePtr Tuple(bool is_bracketed, bool takes_condition = true) {
    const Nesting nesting(*this);
    std::vector<NodePtr> items;
    bool is_tuple = false;
    while (true) {
      if (!items.empty()) ExpectOperator(",");
      if (AtEnd() || IsName("recursive")) break;
      items.push_back(takes_condition ? Expression() : Or());
      if (!IsOperator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items[0]);
    if (items.empty() && !is_bracketed) Broken("expected an expression");
    NodePtr tuple = Make(Kind::kTuple);
    tuple->items = std::move(items);
    return Done(std::move(tuple));
  }

  NodePtr Expression() {
    const Nesting nesting(*this);
    NodePtr value = Or();
    while (TakeName("if")) {
      NodePtr node = Make(Kind::kIfElse);
      node->left = std::move(value);
      node->right = Or();
      if (TakeName("else")) node->third = Expression();
      value = Done(std::move(node));
    }
    return value;
  }
  NodePtr Or() {
    NodePtr left = And();
    while (TakeName("or")) left = Binary(Kind::kOr, {}, std::move(left), And());
    return left;
  }
  NodePtr And() {
    NodePtr left = Not();
    while (TakeName("and")) left = Binary(Kind::kAnd, {}, std::move(left), Not());
    return left;
  }
  NodePtr Not() {
    if (!TakeName("not")) return Compare();
    const Nesting nesting(*this);
    return Unary(Kind::kNot, Not());
  }
  NodePtr Compare() {
    NodePtr left = Sum();
    NodePtr node;
    while (true) {
      std::string name;
      if (Current().type == Type::kOperator) {
        for (const std::string_view known : {"==", "!=", "<", "<=", ">", ">="}) {
          if (Current().text == known) name = known;
        }
        if (!name.empty()) Advance();
      } else if (TakeName("in")) {
        name = "in";
      } else if (IsName("not") && Following().type == Type::kName && Following().text == "in") {
        Advance();
        Advance();
        name = "not in";
      }
      if (name.empty()) break;
      if (node == nullptr) {
        node = Make(Kind::kCompare);
        node->left = std::move(left);
      }
      node->operators.push_back(std::move(name));
      node->items.push_back(Sum());
    }
    return node == nullptr ? std::move(left) : Done(std::move(node));
  }
  template <typename Next>
  NodePtr Chain(std::initializer_list<std::string_view> names, Next&& next) {
    NodePtr left = next();
    while (Current().type == Type::kOperator && std::find(names.begin(), names.end(), Current().text) != names.end()) {
      std::string name = Current().text;
      Advance();
      left = Binary(Kind::kBinary, std::move(name), std::move(left), next());
    }
    return left;
  }
  NodePtr Sum() {
    return Chain({"+", "-"}, [this] { return Concat(); });
  }
  NodePtr Concat() {
    NodePtr left = Product();
    if (!IsOperator("~")) return left;
    NodePtr node = Make(Kind::kConcat);
    node->items.push_back(std::move(left));
    while (TakeOperator("~")) node->items.push_back(Product());
    return Done(std::move(node));
  }
  NodePtr Product() {
    return Chain({"*", "/", "//", "%"}, [this] { return Chain({"**"}, [this] { return Sign(true); }); });
  }
  NodePtr Sign(bool takes_filters) {
    const Nesting nesting(*this);
    NodePtr node;
    if (TakeOperator("-")) {
      node = Unary(Kind::kNegate, Sign(false));
    } else if (TakeOperator("+")) {
      node = Unary(Kind::kPlus, Sign(false));
    } else {
      node = Primary();
    }
    node = Postfix(std::move(node));
    return takes_filters ? Filters(std::move(node)) : std::move(node);
  }

  NodePtr Primary() {
    const TemplateToken token = Current();
    switch (token.type) {
      case Type::kName:
        Advance();
        if (token.text == "true" || token.text == "True") return Constant(true);
        if (token.text == "false" || token.text == "False") return Constant(false);
        if (token.text == "none" || token.text == "None") return Constant(Value());
        return Make(Kind::kName, token.text);
      case Type::kString: {
        std::string text;
        while (Current().type == Type::kString) {
          text += Current().text;
          Advance();
        }
        return Constant(Value::Template(text));
      }
      case Type::kInteger: Advance(); return Constant(token.integer);
      case Type::kFloat: Advance(); return Constant(token.number);
      default: break;
    }
    if (TakeOperator("(")) {
      NodePtr node = Tuple(true);
      ExpectOperator(")");
      return node;
    }
    if (TakeOperator("[")) {
      NodePtr node = Make(Kind::kList);
      while (!TakeOperator("]")) {
        if (!node->items.empty()) ExpectOperator(",");
        if (TakeOperator("]")) break;
        node->items.push_back(Expression());
      }
      return Done(std::move(node));
    }
    if (TakeOperator("{")) {
      NodePtr node = Make(Kind::kDict);
      while (!TakeOperator("}")) {
        if (!node->items.empty()) ExpectOperator(",");
        if (TakeOperator("}")) break;
        node->items.push_back(Expression());
        ExpectOperator(":");
        node->items.push_back(Expression());
      }
      return Done(std::move(node));
    }
    Broken("expected an expression");
  }

  NodePtr Postfix(NodePtr node) {
    while (true) {
      if (TakeOperator(".")) {
        if (Current().type == Type::kInteger) {
          NodePtr index = Constant(Current().integer);
          Advance();
          node = Binary(Kind::kSubscript, {}, std::move(node), std::move(index));
          continue;
        }
        NodePtr attribute = Make(Kind::kAttribute, ExpectName());
        attribute->left = std::move(node);
        node = Done(std::move(attribute));
      } else if (TakeOperator("[")) {
        NodePtr index = Index();
        ExpectOperator("]");
        node = Binary(Kind::kSubscript, {}, std::move(node), std::move(index));
      } else if (IsOperator("(")) {
        NodePtr call = Make(Kind::kCall);
        Arguments(*call);
        call->left = std::move(node);
        node = Done(std::move(call));
      } else {
        return node;
      }
    }
  }
  NodePtr Index() {
    NodePtr parts[3];
    int count = 0;
    bool is_slice = false;
    while (true) {
      if (TakeOperator(":")) {
        is_slice = true;
        if (++count > 2) Broken("a slice with too many parts");
      } else if (IsOperator("]")) {
        break;
      } else if (IsOperator(",")) {
        Fail(ErrorCode::kUnimplemented, "[chat template] ", source_, ", line ", Current().line,
             ": several indices in one subscript are not supported");
      } else {
        if (parts[count] != nullptr) Broken("expected \"]\"");
        parts[count] = Expression();
      }
    }
    if (!is_slice) {
      if (parts[0] == nullptr) Broken("expected an index");
      return std::move(parts[0]);
    }
    NodePtr slice = Make(Kind::kSlice);
    slice->left = std::move(parts[0]);
    slice->right = std::move(parts[1]);
    slice->third = std::move(parts[2]);
    return Done(std::move(slice));
  }

  void Arguments(Node& call) {
    ExpectOperator("(");
    bool is_first = true;
    while (!TakeOperator(")")) {
      if (!is_first) ExpectOperator(",");
      is_first = false;
      if (TakeOperator(")")) return;
      if (IsOperator("*") || IsOperator("**"))
        Fail(ErrorCode::kUnimplemented, "[chat template] ", source_, ", line ", Current().line,
             ": arguments from a list or a dict are not supported");
      if (Current().type == Type::kName && Following().type == Type::kOperator && Following().text == "=") {
        std::string name = ExpectName();
        Advance();
        call.keywords.emplace_back(std::move(name), Expression());
      } else {
        if (!call.keywords.empty()) Broken("an argument behind one with a name");
        call.items.push_back(Expression());
      }
    }
  }

  NodePtr Filter(NodePtr value) {
    NodePtr filter = Make(Kind::kFilter, ExpectName());
    if (IsOperator("(")) Arguments(*filter);
    filter->left = std::move(value);
    return Done(std::move(filter));
  }
  NodePtr Filters(NodePtr node) {
    while (true) {
      if (TakeOperator("|")) {
        node = Filter(std::move(node));
      } else if (TakeName("is")) {
        node = Test(std::move(node));
      } else if (IsOperator("(")) {
        node = Postfix(std::move(node));
      } else {
        return node;
      }
    }
  }
  NodePtr Test(NodePtr value) {
    const bool is_negated = TakeName("not");
    NodePtr test = Make(Kind::kTest, ExpectName());
    test->left = std::move(value);
    const Type type = Current().type;
    if (IsOperator("(")) {
      Arguments(*test);
    } else if ((type == Type::kName && !IsName("else") && !IsName("or") && !IsName("and") && !IsName("if") &&
                !IsName("is") && !IsName("in") && !IsName("not")) ||
               type == Type::kString || type == Type::kInteger || type == Type::kFloat || IsOperator("[") ||
               IsOperator("{")) {
      test->items.push_back(Postfix(Primary()));
    }
    if (!test->keywords.empty()) Broken("a test with named arguments");
    test = Done(std::move(test));
    return is_negated ? Unary(Kind::kNot, std::move(test)) : std::move(test);
  }

  std::vector<TemplateToken> tokens_;
  const std::string& source_;
  size_t at_ = 0;
  int nesting_ = 0, loops_ = 0;
};

}  // namespace

TemplateBody ParseTemplate(std::string_view source_text, const std::string& source) {
  return Parser(LexTemplate(source_text, source), source).Run();
}

}  // namespace fovea::text
