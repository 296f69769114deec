// How far a long piece of work is: bytes, rate and what is left of the time.
#ifndef MNEME_CLIENTS_CLI_PROGRESS_BAR_H_
#define MNEME_CLIENTS_CLI_PROGRESS_BAR_H_

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

namespace mneme::cli {

// On a terminal one line that is drawn again several times a second; elsewhere (a log) a line every
// ten seconds. One thread at a time.
class ProgressBar {
 public:
  using Clock = std::chrono::steady_clock;

  // what: "converting". `out` outlives it.
  ProgressBar(std::string what, std::ostream& out, bool terminal);
  // The bar is wiped from a terminal; lines stay.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Bytes that are done, of how many. What is done at the first call is not counted in the rate:
  // an earlier run did it.
  void Update(int64_t done, int64_t total, Clock::time_point now = Clock::now());

 private:
  std::string Line(int64_t done, int64_t total, Clock::time_point now) const;

  const std::string what_;
  std::ostream& out_;
  const bool terminal_;
  bool begun_ = false;
  Clock::time_point start_;
  int64_t first_ = 0;
  Clock::time_point drawn_;
};

// "0 B", "1.5 MB", "20.0 GB": decimal units, three digits at least.
std::string BytesText(int64_t bytes);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_PROGRESS_BAR_H_
