// Gives memory its pages in the background, so that who first writes to it does not pay: a fault
// costs microseconds, and in a virtual machine whose host has to find the memory first, more.
#ifndef MNEME_KERNELS_DEVICE_PREFAULT_H_
#define MNEME_KERNELS_DEVICE_PREFAULT_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace mneme::kernels {

class Prefault {
 public:
  // Starts a thread that goes through all regions side by side, from their beginnings on, and
  // leaves their contents as they are; others may use them meanwhile. The beginnings come at once;
  // after them it pauses nine times as long as it works, for it takes a core from those who serve
  // and keeps the process from mapping memory meanwhile. The regions outlive this object. Where the
  // system cannot do it (Linux before 5.14) nothing happens.
  explicit Prefault(std::vector<std::span<uint8_t>> regions);
  // Stops within a few MiB, and any pause.
  ~Prefault();
  Prefault(const Prefault&) = delete;
  Prefault& operator=(const Prefault&) = delete;

  // Waits until every page is there, or the system has refused one.
  void Wait();

 private:
  void Run();
  // Waits; true when the thread is to end.
  bool Pause(std::chrono::steady_clock::duration time);

  std::vector<std::span<uint8_t>> regions_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_DEVICE_PREFAULT_H_
