#include "engine/schedule/traffic_share.h"

#include <numeric>

namespace mneme::schedule {
namespace {

using kernels::TrafficClass;

double Sum(std::span<const double> x) { return std::accumulate(x.begin(), x.end(), 0.0); }

}  // namespace

TrafficShare::TrafficShare(const runtime::StepResult& result, int32_t tokens, int32_t logit_rows)
    : own_{{{TrafficClass::kValueRows, result.token_value_row_bytes},
            {TrafficClass::kExpertWeights, result.token_expert_bytes},
            {TrafficClass::kKv, result.token_kv_bytes}}} {
  Bytes own_read{};
  for (const Own& own : own_) own_read[static_cast<int>(own.of)] = Sum(own.bytes);
  for (int c = 0; c < kernels::kTrafficClasses; ++c) {
    const double logit_read = static_cast<double>(result.logit_traffic.read_bytes[c]);
    const double logit_written = static_cast<double>(result.logit_traffic.written_bytes[c]);
    double read = static_cast<double>(result.traffic.read_bytes[c]) - own_read[c];
    double written = static_cast<double>(result.traffic.written_bytes[c]);
    // Without logit rows their traffic, if any, is everybody's.
    if (logit_rows > 0) {
      read_per_logit_row_[c] = logit_read / logit_rows;
      written_per_logit_row_[c] = logit_written / logit_rows;
      read -= logit_read;
      written -= logit_written;
    }
    read_per_token_[c] = read / tokens;
    written_per_token_[c] = written / tokens;
  }
}

void TrafficShare::Add(int32_t first_row, int32_t rows, int32_t logit_rows,
                       RequestUsage* usage) const {
  for (int c = 0; c < kernels::kTrafficClasses; ++c) {
    usage->read_bytes[c] += read_per_token_[c] * rows + read_per_logit_row_[c] * logit_rows;
    usage->written_bytes[c] +=
        written_per_token_[c] * rows + written_per_logit_row_[c] * logit_rows;
  }
  const size_t first = static_cast<size_t>(first_row);
  const size_t count = static_cast<size_t>(rows);
  for (const Own& own : own_) {
    if (own.bytes.empty()) continue;
    usage->read_bytes[static_cast<int>(own.of)] += Sum(own.bytes.subspan(first, count));
  }
}

}  // namespace mneme::schedule
