#include "loader/tokenizer/pattern.h"

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/unicode_data.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

absl::StatusOr<Pattern> Pattern::Build(const JsonField& field) {
  if (absl::Status status = field.OnlyMembers({"String", "Regex"}); !status.ok()) return status;
  if (field.value().count() != 1) return field.Expected("one of String and Regex");
  const JsonField string = field.Member("String");
  if (string.value().exists()) {
    const absl::StatusOr<std::string_view> text = string.String();
    if (!text.ok()) return text.status();
    // An empty string matches between any two characters; the regular expression knows how.
    Pattern pattern(text->empty() ? Kind::kRegex : Kind::kLiteral);
    pattern.literal_ = *text;
    if (!text->empty()) return pattern;
    absl::StatusOr<Regex> regex = Regex::Compile("");
    if (!regex.ok()) return string.Error(MessageOf(regex.status()));
    pattern.regex_ = std::make_unique<Regex>(*std::move(regex));
    return pattern;
  }
  const absl::StatusOr<std::string_view> text = field.Member("Regex").String();
  if (!text.ok()) return text.status();
  if (const MatchFunction find = FindKnownPattern(*text); find != nullptr) return Pattern(find);
  absl::StatusOr<Regex> regex = Regex::Compile(*text);
  if (!regex.ok()) return field.Member("Regex").Error(MessageOf(regex.status()));
  Pattern pattern(Kind::kRegex);
  pattern.regex_ = std::make_unique<Regex>(*std::move(regex));
  return pattern;
}

Pattern Pattern::Character(char32_t c) {
  Pattern pattern(Kind::kLiteral);
  AppendUtf8(c, &pattern.literal_);
  return pattern;
}

absl::Status Pattern::FindAll(std::string_view text, SearchBudget* budget,
                              std::vector<Span>* matches) const {
  switch (kind_) {
    case Kind::kFunction:
      find_(text, matches);
      break;
    case Kind::kLiteral:
      for (size_t at = 0; (at = text.find(literal_, at)) != text.npos; at += literal_.size()) {
        matches->push_back(
            {static_cast<uint32_t>(at), static_cast<uint32_t>(at + literal_.size())});
      }
      break;
    case Kind::kNumbers:
      for (uint32_t at = 0; at < text.size();) {
        const Utf8Char c = DecodeUtf8(text.substr(at));
        if (CharTable::Get().Class(c.code_point) == CharClass::kNumber) {
          matches->push_back({at, at + c.size});
        }
        at += c.size;
      }
      break;
    case Kind::kRegex:
      return regex_->FindAll(text, budget, matches);
  }
  return absl::OkStatus();
}

absl::StatusOr<SplitBehavior> ReadSplitBehavior(const JsonField& field) {
  const absl::StatusOr<std::string_view> name = field.String();
  if (!name.ok()) return name.status();
  if (*name == "Removed") return SplitBehavior::kRemoved;
  if (*name == "Isolated") return SplitBehavior::kIsolated;
  if (*name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (*name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (*name == "Contiguous") return SplitBehavior::kContiguous;
  return field.Expected("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

namespace {

struct Part {
  Span span;
  bool is_match;
};

// Joins each match to the part before it (reversed: behind it), but not to another match.
void MergeMatches(std::vector<Part>* parts, bool reversed) {
  if (reversed) std::reverse(parts->begin(), parts->end());
  std::vector<Part> merged;
  bool previous_match = false;
  for (const Part& part : *parts) {
    if (part.is_match && !previous_match && !merged.empty()) {
      Span& last = merged.back().span;
      last = {std::min(last.begin, part.span.begin), std::max(last.end, part.span.end)};
    } else {
      merged.push_back(part);
    }
    previous_match = part.is_match;
  }
  if (reversed) std::reverse(merged.begin(), merged.end());
  *parts = std::move(merged);
}

void JoinEqual(std::vector<Part>* parts) {
  std::vector<Part> joined;
  for (const Part& part : *parts) {
    if (!joined.empty() && joined.back().is_match == part.is_match) {
      joined.back().span.end = part.span.end;
    } else {
      joined.push_back(part);
    }
  }
  *parts = std::move(joined);
}

}  // namespace

void SplitByMatches(uint32_t size, const std::vector<Span>& matches, SplitBehavior behavior,
                    bool invert, std::vector<Span>* pieces) {
  if (behavior == SplitBehavior::kIsolated) {  // what published files have, without a list of parts
    uint32_t end = 0;
    for (const Span& match : matches) {
      if (end != match.begin) pieces->push_back({end, match.begin});
      if (match.begin != match.end) pieces->push_back(match);
      end = match.end;
    }
    if (end != size) pieces->push_back({end, size});
    return;
  }
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  uint32_t end = 0;
  for (const Span& match : matches) {
    if (end != match.begin) parts.push_back({{end, match.begin}, invert});
    parts.push_back({match, !invert});
    end = match.end;
  }
  if (end != size) parts.push_back({{end, size}, invert});

  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      break;
    case SplitBehavior::kIsolated:  // above
      break;
    case SplitBehavior::kMergedWithPrevious:
      MergeMatches(&parts, false);
      break;
    case SplitBehavior::kMergedWithNext:
      MergeMatches(&parts, true);
      break;
    case SplitBehavior::kContiguous:
      JoinEqual(&parts);
      break;
  }
  for (const Part& part : parts) {
    if (part.span.begin != part.span.end) pieces->push_back(part.span);
  }
}

}  // namespace mneme::loader::tokenizer_internal
