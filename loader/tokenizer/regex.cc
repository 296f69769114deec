#include "loader/tokenizer/regex.h"

// Oniguruma would define UChar, which is a type of ICU.
#define ONIG_ESCAPE_UCHAR_COLLISION
#include <oniguruma.h>
#include <time.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/unicode_data.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// Steps back of one match attempt; the engine's own default, and the reference's.
constexpr unsigned long kRetriesOfMatch = 10'000'000;
// Steps back of one search, over all places where a match might start: about a second.
constexpr unsigned long kRetriesOfSearch = 100'000'000;
constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr unsigned int kMaxPatternDepth = 200;

struct Property {
  const char* name;
  uint32_t mask;
};

// The engine takes 20 properties of ours: those whose characters changed since Unicode 14, which
// Oniguruma 6.9.8 knows, and which patterns use.
constexpr Property kProperties[] = {
    {"L", U_GC_L_MASK},   {"M", U_GC_M_MASK},   {"N", U_GC_N_MASK},   {"P", U_GC_P_MASK},
    {"S", U_GC_S_MASK},   {"Lu", U_GC_LU_MASK}, {"Ll", U_GC_LL_MASK}, {"Lm", U_GC_LM_MASK},
    {"Lo", U_GC_LO_MASK}, {"Mn", U_GC_MN_MASK}, {"Mc", U_GC_MC_MASK}, {"Nd", U_GC_ND_MASK},
    {"Nl", U_GC_NL_MASK}, {"No", U_GC_NO_MASK}, {"Pd", U_GC_PD_MASK}, {"Po", U_GC_PO_MASK},
    {"Sm", U_GC_SM_MASK}, {"Sc", U_GC_SC_MASK}, {"So", U_GC_SO_MASK}};

// Scripts.txt 16.0.0.
constexpr OnigCodePoint kHan[] = {
    22,      0x2E80,  0x2E99,  0x2E9B,  0x2EF3,  0x2F00,  0x2FD5,  0x3005,  0x3005,
    0x3007,  0x3007,  0x3021,  0x3029,  0x3038,  0x303B,  0x3400,  0x4DBF,  0x4E00,
    0x9FFF,  0xF900,  0xFA6D,  0xFA70,  0xFAD9,  0x16FE2, 0x16FE3, 0x16FF0, 0x16FF1,
    0x20000, 0x2A6DF, 0x2A700, 0x2B739, 0x2B740, 0x2B81D, 0x2B820, 0x2CEA1, 0x2CEB0,
    0x2EBE0, 0x2EBF0, 0x2EE5D, 0x2F800, 0x2FA1D, 0x30000, 0x3134A, 0x31350, 0x323AF};

// The count of ranges, then first and last of each.
std::vector<OnigCodePoint> RangesOf(uint32_t mask) {
  const CharTable& table = CharTable::Get();
  std::vector<OnigCodePoint> ranges = {0};
  for (OnigCodePoint c = 0; c < 0x110000; ++c) {
    if (!(table.CategoryMask(c) & mask)) continue;
    if (ranges.size() > 1 && ranges.back() + 1 == c) {
      ranges.back() = c;
    } else {
      ranges.insert(ranges.end(), {c, c});
      ++ranges[0];
    }
  }
  return ranges;
}

// Sets the engine up, once; its error code. The engine keeps pointers to the ranges.
int Initialize() {
  OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
  if (const int error = onig_initialize(encodings, 1); error != ONIG_NORMAL) return error;
  onig_set_parse_depth_limit(kMaxPatternDepth);
  static std::vector<OnigCodePoint> ranges[std::size(kProperties)];
  for (size_t i = 0; i < std::size(kProperties); ++i) {
    ranges[i] = RangesOf(kProperties[i].mask);
    const int error = onig_unicode_define_user_property(kProperties[i].name, ranges[i].data());
    if (error != ONIG_NORMAL) return error;
  }
  return onig_unicode_define_user_property("Han", const_cast<OnigCodePoint*>(kHan));
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
  Regex regex;
  regex.pattern_ = pattern;
  OnigRegex compiled = nullptr;
  OnigErrorInfo info;
  const int error =
      onig_new(&compiled, Bytes(pattern.data()), Bytes(pattern.data() + pattern.size()),
               ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_RUBY, &info);
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
