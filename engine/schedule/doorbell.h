// Wakes one sleeping thread. Whoever changes something that the sleeper looks at rings afterwards;
// the sleeper reads rings() before it looks and sleeps only while the number is still that.
#ifndef MNEME_ENGINE_SCHEDULE_DOORBELL_H_
#define MNEME_ENGINE_SCHEDULE_DOORBELL_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace mneme::schedule {

class Doorbell {
 public:
  // Any thread. What was written before is seen by the sleeper after it wakes. A system call only
  // when somebody sleeps.
  void Ring();
  uint32_t rings() const { return rings_.load(std::memory_order_seq_cst); }
  // Returns when rings() differs from `seen`. Looks for up to `spin` before it sleeps. For one
  // thread at a time.
  void Await(uint32_t seen, std::chrono::microseconds spin);

 private:
  std::atomic<uint32_t> rings_{0};
  std::atomic<bool> sleeps_{false};
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_DOORBELL_H_
