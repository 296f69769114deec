#include "loader/tokenizer/normalizer.h"

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/nfc.h"
#include "loader/tokenizer/step_limit.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

absl::Status CheckSize(size_t size) {
  if (size <= kMaxNormalizedBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(Message("the tokenizer's normalizer makes more than ",
                                              kMaxNormalizedBytes, " bytes of this text"));
}

// `leading` once the matches are replaced. An empty match comes from where the byte before it does,
// and one before the first byte from the beginning.
size_t LeadingBehind(const std::vector<Span>& matches, size_t content_bytes, size_t leading) {
  size_t removed = 0, added = 0;  // before the match that is looked at
  for (const Span& match : matches) {
    if (match.end > leading) return std::min<size_t>(match.begin, leading) - removed + added;
    removed += match.end - match.begin;
    added += content_bytes;
  }
  return leading - removed + added;
}

// All of what is prepended comes from where the text's first character does. The library prepends
// nothing by putting that character in anew, before the first byte.
size_t LeadingOfPrepended(size_t content_bytes, std::string_view text, size_t leading) {
  if (content_bytes == 0) return std::max<size_t>(leading, DecodeUtf8(text).size);
  return leading == 0 ? 0 : leading + content_bytes;
}

}  // namespace

absl::Status ReplaceAll(const Pattern& pattern, std::string_view content, SearchBudget* budget,
                        std::string* text, size_t* leading) {
  std::vector<Span> matches;
  if (absl::Status status = pattern.FindAll(*text, budget, &matches); !status.ok()) return status;
  if (matches.empty()) return absl::OkStatus();
  size_t size = text->size() + matches.size() * content.size();
  for (const Span& match : matches) size -= match.end - match.begin;
  if (absl::Status status = CheckSize(size); !status.ok()) return status;
  if (leading != nullptr) *leading = LeadingBehind(matches, content.size(), *leading);
  std::string out;
  out.reserve(size);
  size_t end = 0;
  for (const Span& match : matches) {
    out.append(*text, end, match.begin - end);
    out.append(content);
    end = match.end;
  }
  out.append(*text, end);
  *text = std::move(out);
  return absl::OkStatus();
}

absl::StatusOr<Normalizer> Normalizer::Build(const JsonField& field) {
  Normalizer normalizer;
  if (field.IsNull()) return normalizer;
  if (absl::Status status = normalizer.Add(field); !status.ok()) return status;
  return normalizer;
}

absl::Status Normalizer::Add(const JsonField& field) {
  const absl::StatusOr<std::string_view> type = field.Type();
  if (!type.ok()) return type.status();
  if (*type == "Sequence") {
    if (absl::Status s = field.OnlyMembers({"type", "normalizers"}); !s.ok()) return s;
    return field.Member("normalizers").ForEach([this](const JsonField& f) { return Add(f); });
  }
  if (absl::Status s = CheckStepLimit(field, steps_.size()); !s.ok()) return s;
  if (*type == "NFC") {
    if (absl::Status s = field.OnlyMembers({"type"}); !s.ok()) return s;
    steps_.push_back({Step::Kind::kNfc, "", {}});
    return absl::OkStatus();
  }
  if (*type == "Prepend") {
    if (absl::Status s = field.OnlyMembers({"type", "prepend"}); !s.ok()) return s;
    const absl::StatusOr<std::string_view> content = field.Member("prepend").String();
    if (!content.ok()) return content.status();
    steps_.push_back({Step::Kind::kPrepend, std::string(*content), {}});
    return absl::OkStatus();
  }
  if (*type == "Replace") {
    if (absl::Status s = field.OnlyMembers({"type", "pattern", "content"}); !s.ok()) return s;
    const absl::StatusOr<std::string_view> content = field.Member("content").String();
    if (!content.ok()) return content.status();
    absl::StatusOr<Pattern> pattern = Pattern::Build(field.Member("pattern"));
    if (!pattern.ok()) return pattern.status();
    Step step = {Step::Kind::kReplace, std::string(*content), {}};
    step.pattern.push_back(*std::move(pattern));
    steps_.push_back(std::move(step));
    return absl::OkStatus();
  }
  return field.Unsupported(Message("the normalizer ", Quote(*type)),
                           "NFC, Prepend, Replace, Sequence");
}

absl::Status Normalizer::Normalize(SearchBudget* budget, std::string* text, size_t* leading) const {
  for (const Step& step : steps_) {
    absl::Status status;
    switch (step.kind) {
      case Step::Kind::kNfc:
        status = NormalizeNfc(text, leading);
        break;
      case Step::Kind::kPrepend:
        if (text->empty()) break;
        status = CheckSize(text->size() + step.content.size());
        if (!status.ok()) break;
        if (leading != nullptr) *leading = LeadingOfPrepended(step.content.size(), *text, *leading);
        text->insert(0, step.content);
        break;
      case Step::Kind::kReplace:
        status = ReplaceAll(step.pattern[0], step.content, budget, text, leading);
        break;
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
