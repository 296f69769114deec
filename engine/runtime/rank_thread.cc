#include "engine/runtime/rank_thread.h"

#include <pthread.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/device/host_cores.h"

namespace mneme::runtime {
namespace {

// A decode step of a small model takes a few hundred microseconds and the schedule's part of it a
// few tens, so the rank rarely sleeps between steps, and the schedule sleeps while a step runs.
constexpr std::chrono::microseconds kSpin{50};
constexpr std::chrono::microseconds kNoSpin{0};

}  // namespace

std::chrono::microseconds StepSpin(int32_t ranks) {
  return ranks < kernels::UsableCores() ? kSpin : kNoSpin;
}

std::chrono::microseconds ExchangeSpin(int32_t ranks) {
  return ranks <= kernels::UsableCores() ? kSpin : kNoSpin;
}

RankThread::RankThread(std::unique_ptr<Rank> rank, int32_t index, std::chrono::microseconds spin)
    : rank_(std::move(rank)), submitted_(2, spin), finished_(2, spin), thread_([this] { Loop(); }) {
  pthread_setname_np(thread_.native_handle(), absl::StrCat("mneme-rank-", index).c_str());
}

RankThread::~RankThread() {
  submitted_.Close();
  thread_.join();
}

void RankThread::Submit(const Step* step) {
  const uint32_t number = submitted_.WaitCredit();
  steps_[number % 2] = step;
  busy_.fetch_add(1, std::memory_order_relaxed);
  submitted_.Publish();
}

const StepResult& RankThread::Wait(std::chrono::steady_clock::time_point expected) {
  uint32_t number = 0;
  if (!finished_.WaitWritten(&number, expected)) return failed_;
  return results_[number % 2];
}

void RankThread::Fail(const std::string& why) {
  failed_.status = absl::UnavailableError(why);
  finished_.Close();
}

void RankThread::Loop() {
  uint32_t number = 0;
  while (submitted_.WaitWritten(&number)) {
    // The result's slot is free: the schedule has at most two steps submitted and not released.
    finished_.WaitCredit();
    const Step& step = *steps_[number % 2];
    rank_->Run(step, static_cast<int32_t>(step.number % 2), &results_[number % 2]);
    busy_.fetch_sub(1, std::memory_order_relaxed);
    submitted_.Release();
    finished_.Publish();
  }
}

}  // namespace mneme::runtime
