#include "loader/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/byte_level.h"
#include "loader/tokenizer/json_character.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/normalizer.h"
#include "loader/tokenizer/step_limit.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

absl::Status ReadBool(const JsonField& field, bool* value) {
  const absl::StatusOr<bool> read = field.Bool();
  if (read.ok()) *value = *read;
  return read.status();
}

// Rewrites every piece: prefix(piece, leads, out) appends what goes before it, edit(part, out) the
// new form of any part of it. leads: the piece comes from the input's very beginning; its prefix
// then does, too.
template <class Prefix, class Edit>
absl::Status Rewrite(Pieces* pieces, const Prefix& prefix, const Edit& edit) {
  std::string* out = &pieces->next_text;
  out->clear();
  size_t leading = 0;
  for (Span& span : pieces->spans) {
    const uint32_t begin = static_cast<uint32_t>(out->size());
    const std::string_view piece = pieces->Piece(span);
    const size_t leads =
        pieces->leading > span.begin ? std::min(pieces->leading - span.begin, piece.size()) : 0;
    prefix(piece, leads > 0, out);
    if (leads > 0) {
      edit(piece.substr(0, leads), out);
      leading = out->size();
    }
    edit(piece.substr(leads), out);
    if (out->size() > kMaxNormalizedBytes) {
      return absl::ResourceExhaustedError(Message("the tokenizer's pre-tokenizer makes more than ",
                                                  kMaxNormalizedBytes, " bytes of this text"));
    }
    span = {begin, static_cast<uint32_t>(out->size())};
  }
  pieces->text.swap(*out);
  pieces->leading = leading;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::Build(const JsonField& field) {
  PreTokenizer pre_tokenizer;
  if (field.IsNull()) return pre_tokenizer;
  if (absl::Status status = pre_tokenizer.Add(field); !status.ok()) return status;
  return pre_tokenizer;
}

absl::Status PreTokenizer::Add(const JsonField& field) {
  const absl::StatusOr<std::string_view> type = field.Type();
  if (!type.ok()) return type.status();
  if (*type == "Sequence") {
    if (absl::Status s = field.OnlyMembers({"type", "pretokenizers"}); !s.ok()) return s;
    return field.Member("pretokenizers").ForEach([this](const JsonField& f) { return Add(f); });
  }
  if (absl::Status s = CheckStepLimit(field, steps_.size()); !s.ok()) return s;
  if (*type == "ByteLevel") return AddByteLevel(field);
  if (*type == "Split") return AddSplit(field);
  if (*type == "Digits") return AddDigits(field);
  if (*type == "Metaspace") return AddMetaspace(field);
  return field.Unsupported(Message("the pre-tokenizer ", Quote(*type)),
                           "ByteLevel, Split, Digits, Metaspace, Sequence");
}

absl::Status PreTokenizer::AddByteLevel(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers({"type", "add_prefix_space", "trim_offsets", "use_regex"});
      !s.ok()) {
    return s;
  }
  bool prefix = false, trim_offsets = false;  // offsets are not given out
  if (absl::Status s = ReadBool(field.Member("add_prefix_space"), &prefix); !s.ok()) return s;
  if (absl::Status s = ReadBool(field.Member("trim_offsets"), &trim_offsets); !s.ok()) return s;
  const absl::StatusOr<bool> use_regex = field.Member("use_regex").BoolOr(true);
  if (!use_regex.ok()) return use_regex.status();
  Step step;
  step.kind = Step::Kind::kByteLevel;
  if (*use_regex) step.pattern.push_back(Pattern::Gpt2());
  if (prefix) step.prefix = Prefix::kAlways;
  step.prefix_text = " ";
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddSplit(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers({"type", "pattern", "behavior", "invert"}); !s.ok()) {
    return s;
  }
  Step step;
  step.kind = Step::Kind::kSplit;
  absl::StatusOr<Pattern> pattern = Pattern::Build(field.Member("pattern"));
  if (!pattern.ok()) return pattern.status();
  step.pattern.push_back(*std::move(pattern));
  const absl::StatusOr<SplitBehavior> behavior = ReadSplitBehavior(field.Member("behavior"));
  if (!behavior.ok()) return behavior.status();
  step.behavior = *behavior;
  if (absl::Status s = ReadBool(field.Member("invert"), &step.invert); !s.ok()) return s;
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddDigits(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers({"type", "individual_digits"}); !s.ok()) return s;
  bool individual = false;
  if (absl::Status s = ReadBool(field.Member("individual_digits"), &individual); !s.ok()) return s;
  Step step;
  step.kind = Step::Kind::kSplit;
  step.pattern.push_back(Pattern::Numbers());
  step.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddMetaspace(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers(
          {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
      !s.ok()) {
    return s;
  }
  Step step;
  step.kind = Step::Kind::kMetaspace;
  const absl::StatusOr<char32_t> replacement = ReadCharacter(field.Member("replacement"));
  if (!replacement.ok()) return replacement.status();
  AppendUtf8(*replacement, &step.prefix_text);
  const absl::StatusOr<MetaspacePrefix> prefix = ReadMetaspacePrefix(field);
  if (!prefix.ok()) return prefix.status();
  step.prefix = *prefix;
  const absl::StatusOr<bool> split = field.Member("split").BoolOr(true);
  if (!split.ok()) return split.status();
  if (*split) step.pattern.push_back(Pattern::Character(*replacement));
  step.behavior = SplitBehavior::kMergedWithNext;
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<MetaspacePrefix> ReadMetaspacePrefix(const JsonField& field) {
  const JsonField scheme = field.Member("prepend_scheme");
  MetaspacePrefix prefix = MetaspacePrefix::kAlways;
  if (scheme.value().exists()) {
    const absl::StatusOr<std::string_view> name = scheme.String();
    if (!name.ok()) return name.status();
    if (*name == "never") {
      prefix = MetaspacePrefix::kNever;
    } else if (*name == "first") {
      prefix = MetaspacePrefix::kFirst;
    } else if (*name != "always") {
      return scheme.Expected("always, first or never");
    }
  }
  // The older spelling of the same choice.
  const absl::StatusOr<bool> add_prefix_space = field.Member("add_prefix_space").BoolOr(true);
  if (!add_prefix_space.ok()) return add_prefix_space.status();
  if (!*add_prefix_space && prefix != MetaspacePrefix::kNever) {
    return field.Member("add_prefix_space").Error("false contradicts prepend_scheme");
  }
  return prefix;
}

absl::Status PreTokenizer::Divide(const Step& step, SearchBudget* budget, Pieces* pieces) {
  pieces->next_spans.clear();
  for (const Span& span : pieces->spans) {
    pieces->matches.clear();
    if (absl::Status s = step.pattern[0].FindAll(pieces->Piece(span), budget, &pieces->matches);
        !s.ok()) {
      return s;
    }
    const size_t first = pieces->next_spans.size();
    SplitByMatches(span.end - span.begin, pieces->matches, step.behavior, step.invert,
                   &pieces->next_spans);
    for (size_t i = first; i < pieces->next_spans.size(); ++i) {
      pieces->next_spans[i].begin += span.begin;
      pieces->next_spans[i].end += span.begin;
    }
  }
  pieces->spans.swap(pieces->next_spans);
  return absl::OkStatus();
}

absl::Status PreTokenizer::Transform(const Step& step, Pieces* pieces) {
  const bool metaspace = step.kind == Step::Kind::kMetaspace;
  if (!metaspace && step.prefix == Prefix::kNever) return absl::OkStatus();
  const auto prefix = [&](std::string_view piece, bool leads, std::string* out) {
    const bool prefixed = piece.substr(0, step.prefix_text.size()) == step.prefix_text ||
                          (metaspace && piece[0] == ' ');
    const bool wanted = step.prefix == Prefix::kAlways || (step.prefix == Prefix::kFirst && leads);
    if (wanted && !prefixed) out->append(step.prefix_text);
  };
  return Rewrite(pieces, prefix, [&](std::string_view part, std::string* out) {
    if (!metaspace) {
      out->append(part);
      return;
    }
    for (const char c : part) {
      if (c == ' ') {
        out->append(step.prefix_text);
      } else {
        out->push_back(c);
      }
    }
  });
}

absl::Status PreTokenizer::Run(std::string_view section, size_t leading, SearchBudget* budget,
                               Pieces* pieces) const {
  pieces->text.assign(section);
  pieces->spans.clear();
  if (!section.empty()) pieces->spans.push_back({0, static_cast<uint32_t>(section.size())});
  pieces->leading = leading;
  for (const Step& step : steps_) {
    if (pieces->spans.empty()) break;
    if (step.kind != Step::Kind::kSplit) {
      if (absl::Status s = Transform(step, pieces); !s.ok()) return s;
    }
    if (!step.pattern.empty()) {
      if (absl::Status s = Divide(step, budget, pieces); !s.ok()) return s;
    }
    if (step.kind == Step::Kind::kByteLevel) {
      const auto no_prefix = [](std::string_view, bool, std::string*) {};
      if (absl::Status s = Rewrite(pieces, no_prefix, AppendByteLevel); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
