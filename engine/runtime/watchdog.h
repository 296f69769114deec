// Notices when a rank that is a thread of this process hangs: steps are under way, and it neither
// fires actors nor waits for other ranks. Nothing can mend that: a thread cannot be killed.
#ifndef MNEME_ENGINE_RUNTIME_WATCHDOG_H_
#define MNEME_ENGINE_RUNTIME_WATCHDOG_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/exchange.h"
#include "engine/runtime/rank_thread.h"

namespace mneme::runtime {

// That a rank may stand still in steps of which the longest is expected to take so long.
constexpr double HangSeconds(double longest_step_seconds) {
  return longest_step_seconds > 1 ? 10 * longest_step_seconds : 10;
}

struct HangOptions {
  double seconds = HangSeconds(0);  // that a rank may stand still
  // Called once the steps under way have failed; says which rank hangs. Empty: prints that, and
  // ends the process with status 70 a second later, when requests have got their errors.
  std::function<void(const std::string&)> on_hang;
  // For tests: that rank stands still at the beginning of its next step for as long as this is
  // true.
  int32_t test_rank = -1;
  const std::atomic<bool>* test_hang = nullptr;
};

class Watchdog {
 public:
  struct Watched {
    RankThread* thread = nullptr;
    const Exchange* exchange = nullptr;  // null: alone
  };
  // ranks: by number. fail: ends all waits for steps with this reason; called before on_hang.
  Watchdog(std::vector<Watched> ranks, const HangOptions& options,
           std::function<void(const std::string&)> fail);
  ~Watchdog();

 private:
  struct Seen {
    uint64_t progress = 0;
    std::chrono::steady_clock::time_point moved;
  };

  void Loop();
  bool SleepUnlessStopped(double seconds);

  const std::vector<Watched> ranks_;
  std::vector<Seen> seen_;  // by rank; made here, for the thread may begin amid steps
  const HangOptions options_;
  const std::function<void(const std::string&)> fail_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_WATCHDOG_H_
