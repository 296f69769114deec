#include "engine/runtime/watchdog.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"

namespace mneme::runtime {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLooks = 10;  // per time that a rank may stand still
constexpr int kExitSoftware = 70;
constexpr std::chrono::seconds kGoodbye{1};

[[noreturn]] void EndProcess(const std::string& why) {
  std::fprintf(stderr, "mneme: %s; the process ends\n", why.c_str());
  std::this_thread::sleep_for(kGoodbye);
  _exit(kExitSoftware);
}

}  // namespace

Watchdog::Watchdog(std::vector<Watched> ranks, const HangOptions& options,
                   std::function<void(const std::string&)> fail)
    : ranks_(std::move(ranks)),
      seen_(ranks_.size(), {0, Clock::now()}),
      options_(options),
      fail_(std::move(fail)),
      thread_([this] { Loop(); }) {
  pthread_setname_np(thread_.native_handle(), "mneme-watchdog");
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

bool Watchdog::SleepUnlessStopped(double seconds) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, std::chrono::duration<double>(seconds),
                            [this] { return stopping_; });
}

void Watchdog::Loop() {
  while (SleepUnlessStopped(options_.seconds / kLooks)) {
    for (size_t r = 0; r < ranks_.size(); ++r) {
      const uint64_t progress = ranks_[r].thread->rank().progress();
      const bool waits = ranks_[r].exchange != nullptr && ranks_[r].exchange->waiting();
      if (progress != seen_[r].progress || waits || !ranks_[r].thread->busy()) {
        seen_[r] = {progress, Clock::now()};
        continue;
      }
      const double still = std::chrono::duration<double>(Clock::now() - seen_[r].moved).count();
      if (still < options_.seconds) continue;
      const std::string why =
          absl::StrFormat("rank %d hangs: has not moved for %.1f s", static_cast<int>(r), still);
      fail_(why);
      if (!options_.on_hang) EndProcess(why);
      options_.on_hang(why);
      return;
    }
  }
}

}  // namespace mneme::runtime
