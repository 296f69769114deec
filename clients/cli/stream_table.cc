#include "clients/cli/stream_table.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "absl/strings/str_cat.h"

namespace mneme::cli {
namespace {

struct ClassBytes {
  double read = 0;
  double written = 0;
};

template <class... Values>
void Line(std::string* out, const char* format, Values... values) {
  char line[200];
  std::snprintf(line, sizeof line, format, values...);
  out->append(line);
}

std::string Milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f ms", seconds * 1e3);
  return text;
}

}  // namespace

std::string HumanBytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  char text[32];
  const int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f %s", decimals, bytes, kUnits[unit]);
  return text;
}

std::string StreamTable(const std::vector<StreamRun>& runs, double seconds) {
  std::vector<double> first_tokens;
  std::vector<double> gaps;
  std::map<std::string, ClassBytes> classes;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t output_tokens = 0;
  for (const StreamRun& run : runs) {
    first_tokens.push_back(run.clock.time_to_first_token());
    const std::vector<double> own = run.clock.inter_token_seconds();
    gaps.insert(gaps.end(), own.begin(), own.end());
    prompt_tokens += run.result.usage.prompt_tokens();
    cached_tokens += run.result.usage.cached_tokens();
    output_tokens += run.result.usage.output_tokens();
    for (const v1::Traffic::Class& c : run.result.usage.traffic().classes()) {
      classes[c.name()].read += c.read_bytes();
      classes[c.name()].written += c.written_bytes();
    }
  }
  std::string out;
  Line(&out, "%-24s %lld prompt%s, %lld output\n", "tokens", static_cast<long long>(prompt_tokens),
       cached_tokens > 0 ? absl::StrCat(" (", cached_tokens, " cached)").c_str() : "",
       static_cast<long long>(output_tokens));
  if (runs.size() == 1) {
    Line(&out, "%-24s %s\n", "time to first token", Milliseconds(first_tokens[0]).c_str());
  } else {
    Line(&out, "%-24s p50 %s, p99 %s\n", "time to first token",
         Milliseconds(Quantile(first_tokens, 0.5)).c_str(),
         Milliseconds(Quantile(first_tokens, 0.99)).c_str());
  }
  Line(&out, "%-24s p50 %s, p99 %s\n", "inter-token latency",
       Milliseconds(Quantile(gaps, 0.5)).c_str(), Milliseconds(Quantile(gaps, 0.99)).c_str());
  const double rate = runs.size() == 1 ? runs[0].clock.tokens_per_second()
                      : seconds > 0    ? static_cast<double>(output_tokens) / seconds
                                       : 0;
  Line(&out, "%-24s %.0f\n", "tokens per second", rate);
  Line(&out, "%-24s %10s %10s\n", "bytes per output token", "read", "written");
  const double tokens = static_cast<double>(std::max<int64_t>(output_tokens, 1));
  ClassBytes all;
  for (const auto& [name, bytes] : classes) {
    Line(&out, "  %-22s %10s %10s\n", name.c_str(), HumanBytes(bytes.read / tokens).c_str(),
         HumanBytes(bytes.written / tokens).c_str());
    all.read += bytes.read;
    all.written += bytes.written;
  }
  Line(&out, "  %-22s %10s %10s\n", "all", HumanBytes(all.read / tokens).c_str(),
       HumanBytes(all.written / tokens).c_str());
  return out;
}

}  // namespace mneme::cli
