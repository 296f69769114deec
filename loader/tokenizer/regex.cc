#include "loader/tokenizer/regex.h"

// Oniguruma would define UChar, which is a type of ICU.
#define ONIG_ESCAPE_UCHAR_COLLISION
#include <oniguruma.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/regex_encoding.h"
#include "loader/tokenizer/regex_rewrite.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// Steps back of one match attempt; the engine's own default, and the reference's.
constexpr unsigned long kRetriesOfMatch = 10'000'000;
// Steps back of one search, over all places where a match might start: about a second.
constexpr unsigned long kRetriesOfSearch = 100'000'000;
constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr unsigned int kMaxPatternDepth = 200;

// Sets the engine up, once; its error code.
int Initialize() {
  OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
  if (const int error = onig_initialize(encodings, 1); error != ONIG_NORMAL) return error;
  onig_set_parse_depth_limit(kMaxPatternDepth);
  return ONIG_NORMAL;
}

// The engine's own syntax, as the library uses it, without callouts: no pattern may call code.
OnigSyntaxType* Syntax() {
  static OnigSyntaxType* const syntax = [] {
    auto* const made = new OnigSyntaxType(*ONIG_SYNTAX_ONIGURUMA);
    made->op2 &= ~(ONIG_SYN_OP2_QMARK_BRACE_CALLOUT_CONTENTS | ONIG_SYN_OP2_ASTERISK_CALLOUT_NAME);
    return made;
  }();
  return syntax;
}

const OnigUChar* Bytes(const char* text) { return reinterpret_cast<const OnigUChar*>(text); }

std::string EngineMessage(int error, OnigErrorInfo* info) {
  OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int size = info == nullptr ? onig_error_code_to_str(buffer, error)
                                   : onig_error_code_to_str(buffer, error, info);
  const std::string_view message(reinterpret_cast<char*>(buffer), size);
  // It may quote the pattern, and cuts that anywhere.
  return FirstInvalidUtf8(message) < 0 ? std::string(message) : Quote(message);
}

// The time that this thread has run.
SearchBudget::Duration ThreadCpu() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

SearchBudget::SearchBudget(Duration limit)
    : limit_(limit), mark_(Clock::now()), cpu_mark_(ThreadCpu()), looked_at_(mark_) {}

void SearchBudget::Start() {
  mark_ = Clock::now();
  if (mark_ - looked_at_ <= kShort) return;
  cpu_mark_ = ThreadCpu();
  looked_at_ = mark_;
}

// A thread that was not interrupted has run as long as the clock says. An interval that may hold an
// interruption counts no more than the thread has run since the last look at the CPU clock, which
// was a millisecond before the interval's start at most.
bool SearchBudget::IsSpent() {
  const Clock::time_point now = Clock::now();
  Duration interval = now - mark_;
  mark_ = now;
  if (now - looked_at_ > kShort) {
    const Duration cpu = ThreadCpu();
    if (interval > kShort) interval = std::min(interval, cpu - cpu_mark_);
    cpu_mark_ = cpu;
    looked_at_ = now;
  }
  used_ += interval;
  return used_ > limit_;
}

bool SearchBudget::IsSpentBySearch(int64_t bytes) {
  if (bytes < kFewBytes && ++few_bytes_ % kSearchesOfFewBytes != 0) return false;
  return IsSpent();
}

struct SearchBudget::EngineMemory {
  EngineMemory() {
    if (param == nullptr) return;
    onig_initialize_match_param(param.get());
    onig_set_retry_limit_in_match_of_match_param(param.get(), kRetriesOfMatch);
    onig_set_retry_limit_in_search_of_match_param(param.get(), kRetriesOfSearch);
  }

  struct Free {
    void operator()(OnigMatchParam* param) const { onig_free_match_param(param); }
    void operator()(OnigRegion* region) const { onig_region_free(region, 1); }
  };
  std::unique_ptr<OnigMatchParam, Free> param{onig_new_match_param()};
  std::unique_ptr<OnigRegion, Free> region{onig_region_new()};
};

void Regex::Free::operator()(re_pattern_buffer* regex) const { onig_free(regex); }

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  static const int initialized = Initialize();
  if (initialized != ONIG_NORMAL) {
    return absl::InternalError(
        Message("Oniguruma does not start: ", EngineMessage(initialized, nullptr)));
  }
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(Message("a pattern of ", pattern.size(), " bytes; at most ",
                                              kMaxPatternBytes, " are read"));
  }
  const absl::StatusOr<std::string> rewritten = RewritePattern(pattern);
  if (!rewritten.ok()) {
    return absl::InvalidArgumentError(
        Message("the pattern ", Quote(pattern), ": ", MessageOf(rewritten.status())));
  }
  Regex regex;
  regex.pattern_ = pattern;
  OnigRegex compiled = nullptr;
  OnigErrorInfo info;
  const int error =
      onig_new(&compiled, Bytes(rewritten->data()), Bytes(rewritten->data() + rewritten->size()),
               ONIG_OPTION_NONE, Unicode16Encoding(), Syntax(), &info);
  if (error != ONIG_NORMAL) {
    return absl::InvalidArgumentError(Message(
        "the pattern ", Quote(pattern), " is refused by Oniguruma: ", EngineMessage(error, &info)));
  }
  regex.regex_.reset(compiled);
  return regex;
}

absl::Status Regex::FindAll(std::string_view text, SearchBudget* budget,
                            std::vector<Span>* matches) const {
  if (text.empty()) return absl::OkStatus();
  if (budget->memory_ == nullptr) budget->memory_ = std::make_shared<SearchBudget::EngineMemory>();
  OnigMatchParam* const param = budget->memory_->param.get();
  OnigRegion* const region = budget->memory_->region.get();
  if (param == nullptr || region == nullptr) {
    return absl::ResourceExhaustedError("no memory for a regular expression search");
  }

  const OnigUChar* begin = Bytes(text.data());
  const OnigUChar* end = begin + text.size();
  const OnigUChar* from = begin;
  int64_t last_end = -1;
  while (from <= end) {
    const int found = onig_search_with_param(regex_.get(), begin, end, from, end, region,
                                             ONIG_OPTION_NONE, param);
    if (found < 0 && found != ONIG_MISMATCH) {
      return absl::ResourceExhaustedError(Message("the tokenizer's pattern ", Quote(pattern_),
                                                  " takes too long on this text (at byte ",
                                                  from - begin, " of a piece of ", text.size(),
                                                  " bytes): ", EngineMessage(found, nullptr)));
    }
    const int64_t searched_end = found == ONIG_MISMATCH ? end - begin : region->end[0];
    if (budget->IsSpentBySearch(searched_end - (from - begin))) {
      return absl::ResourceExhaustedError(Message(
          "the searches of all the tokenizer's patterns take too long on this text: more than ",
          budget->limit() / std::chrono::milliseconds(1), " ms of CPU time"));
    }
    if (found == ONIG_MISMATCH) break;
    const Span match = {static_cast<uint32_t>(region->beg[0]),
                        static_cast<uint32_t>(region->end[0])};
    // \K in a look-behind can begin a match in the one before. The library goes on for ever then.
    if (match.begin > match.end || match.begin < last_end) {
      return absl::InvalidArgumentError(Message("the tokenizer's pattern ", Quote(pattern_),
                                                " matches a part of this text twice (at byte ",
                                                match.begin, ")"));
    }
    if (match.begin == match.end && last_end == static_cast<int64_t>(match.end)) {
      if (from == end) break;
      from += DecodeUtf8(text.substr(from - begin)).size;
      continue;
    }
    matches->push_back(match);
    last_end = match.end;
    from = begin + match.end;
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
