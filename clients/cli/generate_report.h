// What a client saw of a generation: the result and when its parts came.
#ifndef MNEME_CLIENTS_CLI_GENERATE_REPORT_H_
#define MNEME_CLIENTS_CLI_GENERATE_REPORT_H_

#include <chrono>
#include <string>
#include <vector>

#include "clients/cpp/client.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {

// Times of a stream, as its reader measures them. Token times are those of the replies that carried
// them: tokens of one reply came at one time.
class StreamClock {
 public:
  using Clock = std::chrono::steady_clock;

  void Start() { start_ = Clock::now(); }
  // A reply came that carries `tokens` output tokens.
  void OnTokens(int tokens);
  void Stop() { stop_ = Clock::now(); }

  // Seconds. 0 when no token came.
  double time_to_first_token() const;
  double total() const;
  // Output tokens per second after the first one.
  double tokens_per_second() const;
  // One gap for every token after the first; the tokens of one reply share its gap.
  std::vector<double> inter_token_seconds() const;

 private:
  Clock::time_point start_;
  Clock::time_point stop_;
  std::vector<Clock::time_point> token_times_;
};

// "stop", "length", "cancelled", "error", "" for none.
std::string FinishReasonName(v1::FinishReason reason);

// Output tokens per second after each choice's first, over the server's decode time; 0 for none.
double DecodeRate(const client::GenerateResult& result);

// The object that `generate --json` prints: text, token_ids and finish_reason of the first choice
// (`choices` has all of them when there are several), logprobs if any, usage, timing, traffic.
nlohmann::ordered_json ToJson(const client::GenerateResult& result, const StreamClock& clock);

// The value below which a fraction q of the values lies; 0 for none.
double Quantile(std::vector<double> values, double q);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_GENERATE_REPORT_H_
