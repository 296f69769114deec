#include "loader/tokenizer/regex_rewrite.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {

namespace {

constexpr std::string_view kNewline = R"((?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}]))";

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// construct: ASCII.
absl::Status Refuse(std::string_view construct) {
  return absl::InvalidArgumentError(Message(construct, " is not supported"));
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      absl::Status status;
      if (c == '\\') {
        Escape();
      } else if (c == '[') {
        Brackets();
      } else if (c == '(') {
        status = Open();
      } else if (c == '#' && groups_.back().extended) {
        Copy(pattern_.find('\n', at_) - at_);
      } else {
        if (c == ')' && groups_.size() > 1) groups_.pop_back();
        Copy(1);
      }
      if (!status.ok()) return status;
    }
    return std::move(out_);
  }

 private:
  struct Group {
    bool extended = false;     // (?x): blanks and comments
    bool look_behind = false;  // it, or a group around it
  };

  std::string_view rest() const { return pattern_.substr(at_); }

  void Copy(size_t count) {
    count = std::min(count, pattern_.size() - at_);
    out_.append(pattern_, at_, count);
    at_ += count;
  }

  // A backslash and what belongs to it. Of `\cx`, `\C-x` and `\M-x` the last may be an escape
  // again, which is no class: `\c\R` is a control character.
  void Escape() {
    if (rest().starts_with("\\R") && !groups_.back().look_behind) {
      out_ += kNewline;
      at_ += 2;
      return;
    }
    if (const auto [size, is_not] = WordProperty(); size > 0) {
      out_ += is_not ? "\\W" : "\\w";
      at_ += size;
      return;
    }
    CopyEscape();
  }

  // The size of `\p{Word}` or an equal at this place, else 0; whether it is negated.
  std::pair<size_t, bool> WordProperty() const {
    if (!rest().starts_with("\\p{") && !rest().starts_with("\\P{")) return {0, false};
    bool is_not = rest()[1] == 'P';
    size_t at = 3;
    if (rest().substr(at).starts_with('^')) {
      is_not = !is_not;
      ++at;
    }
    std::string name;
    for (; at < rest().size() && rest()[at] != '}'; ++at) {
      const char c = rest()[at];
      if (c != ' ' && c != '-' && c != '_') name.push_back(IsLetter(c) ? c | 0x20 : c);
    }
    return {name == "word" && at < rest().size() ? at + 1 : 0, is_not};
  }

  void CopyEscape() {
    for (;;) {
      const size_t size = rest().starts_with("\\c")                                  ? 2
                          : rest().starts_with("\\C-") || rest().starts_with("\\M-") ? 3
                                                                                     : 0;
      if (size == 0) break;
      Copy(size);
      if (!rest().starts_with('\\')) return Copy(1);
    }
    Copy(2);
  }

  // Brackets, with those within.
  void Brackets() {
    int depth = 0;
    do {
      if (rest().starts_with('[')) {
        if (const size_t size = PosixSize(); depth > 0 && size > 0) {
          Copy(size);
          continue;
        }
        ++depth;
        Copy(1);
        if (rest().starts_with('^')) Copy(1);
        if (rest().starts_with(']')) Copy(1);  // the first is a character
      } else if (rest().starts_with(']')) {
        --depth;
        Copy(1);
      } else if (rest().starts_with('\\')) {
        CopyEscape();
      } else {
        Copy(1);
      }
    } while (depth > 0 && at_ < pattern_.size());
  }

  // Of `[:name:]` or `[:^name:]` at this place, else 0.
  size_t PosixSize() const {
    if (!rest().starts_with("[:")) return 0;
    size_t end = rest().starts_with("[:^") ? 3 : 2;
    while (end < rest().size() && IsLetter(rest()[end])) ++end;
    return rest().substr(end).starts_with(":]") ? end + 2 : 0;
  }

  // A parenthesis and what follows it up to the group's pattern.
  absl::Status Open() {
    for (const std::string_view fail : {"(*FAIL)", "(*MISMATCH)"}) {
      if (!rest().starts_with(fail)) continue;
      out_ += "(?!)";
      at_ += fail.size();
      return absl::OkStatus();
    }
    if (rest().starts_with("(*")) {
      size_t end = 2;
      while (end < rest().size() && (IsLetter(rest()[end]) || rest()[end] == '_')) ++end;
      return Refuse(Message("the callout ", rest().substr(0, end)));
    }
    if (rest().starts_with("(?{")) return Refuse("the callout (?{...}");
    if (rest().starts_with("(?#")) return Comment();
    if (rest().starts_with("(?(")) {
      // A group's number or name. The engine takes the start of any other condition for the start
      // of every match.
      constexpr std::string_view kGroup = "0123456789+-<'";
      const bool is_group = rest().size() > 3 && kGroup.find(rest()[3]) != kGroup.npos;
      if (!is_group) return Refuse("the condition of (?(...)...) that is no group");
      Copy(2);  // the condition's own parenthesis is the next
      groups_.push_back(groups_.back());
      return absl::OkStatus();
    }
    return Options();
  }

  absl::Status Comment() {
    while (at_ < pattern_.size() && pattern_[at_] != ')') Copy(pattern_[at_] == '\\' ? 2 : 1);
    Copy(1);
    return absl::OkStatus();
  }

  // `(?imx-imx)` holds to the end of the group around it, `(?imx:` for its own. Other groups have
  // no options.
  absl::Status Options() {
    size_t end = 1;
    Group group = groups_.back();
    group.look_behind |= rest().starts_with("(?<=") || rest().starts_with("(?<!");
    if (rest().starts_with("(?")) {
      bool on = true;
      for (end = 2; end < rest().size(); ++end) {
        const char c = rest()[end];
        if (c == '-') {
          on = false;
        } else if (c == 'x') {
          group.extended = on;
        } else if (c == 'I' || c == 'L') {
          return Refuse(
              Message("the option ", std::string(1, c), " in ", rest().substr(0, end + 1)));
        } else if (c == 'y') {
          end = std::min(rest().find('}', end), rest().size() - 1);
        } else if (!IsLetter(c)) {
          break;
        }
      }
      const char behind = end < rest().size() ? rest()[end] : '\0';
      if (behind == ')') {
        groups_.back().extended = group.extended;
        Copy(end + 1);
        return absl::OkStatus();
      }
      if (behind != ':') {
        group.extended = groups_.back().extended;
        end = 2;
      }
    }
    groups_.push_back(group);
    Copy(end);
    return absl::OkStatus();
  }

  const std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  std::vector<Group> groups_ = {Group()};  // those that are open; the first is the whole pattern
};

}  // namespace

absl::StatusOr<std::string> RewritePattern(std::string_view pattern) {
  return Rewriter(pattern).Run();
}

}  // namespace mneme::loader::tokenizer_internal
