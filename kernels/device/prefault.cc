#include "kernels/device/prefault.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

// Debian 12's C library has it; older headers do not.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace mneme::kernels {
namespace {

// Of each region at a time: one huge page.
constexpr size_t kPiece = size_t{2} << 20;

// A tenth of one core: 800 MB of huge pages take a few seconds.
constexpr int kPausePerWork = 9;

// Gives the pages that lie in `bytes`, whole or in part, to the process.
bool Populate(std::span<uint8_t> bytes) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size();
  return madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_WRITE) == 0;
}

}  // namespace

Prefault::Prefault(std::vector<std::span<uint8_t>> regions)
    : regions_(std::move(regions)), thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "mneme-prefault");
}

Prefault::~Prefault() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  Wait();
}

void Prefault::Wait() {
  if (thread_.joinable()) thread_.join();
}

bool Prefault::Pause(std::chrono::steady_clock::duration time) {
  std::unique_lock lock(mutex_);
  return stop_.wait_for(lock, time, [this] { return stopping_; });
}

void Prefault::Run() {
  // Whoever wakes up runs at once instead of it, and a core that runs it counts as idle. Without
  // that the schedule's thread waited up to 4 ms for a core with it.
  const sched_param any{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &any);
  size_t longest = 0;
  for (const std::span<uint8_t> region : regions_) longest = std::max(longest, region.size());
  for (size_t begin = 0; begin < longest; begin += kPiece) {
    for (const std::span<uint8_t> region : regions_) {
      if (begin >= region.size()) continue;
      const std::span<uint8_t> rest = region.subspan(begin);
      const auto start = std::chrono::steady_clock::now();
      if (!Populate(rest.first(std::min(kPiece, rest.size())))) return;
      const auto worked = std::chrono::steady_clock::now() - start;
      if (Pause(begin == 0 ? worked * 0 : worked * kPausePerWork)) return;
    }
  }
}

}  // namespace mneme::kernels
