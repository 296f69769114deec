// The bounded queue between the schedule's thread, which writes a request's events, and its reader.
// Each slot owns the memory of its event's text and alternatives, sized in the constructor, so that
// writing an event allocates nothing unless its text is longer than any before it in that slot.
//
// One writer, one reader.
#ifndef MNEME_ENGINE_SCHEDULE_EVENT_RING_H_
#define MNEME_ENGINE_SCHEDULE_EVENT_RING_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace mneme::schedule {

struct EventSlot {
  OutputEvent event;  // its views of text and top are set when it is written
  std::string text;
  std::vector<TokenLogprob> top;
};

class EventRing {
 public:
  // Room for `capacity` events with texts of text_bytes and `top` alternatives each.
  EventRing(int32_t capacity, int32_t text_bytes, int32_t top);

  int32_t capacity() const { return static_cast<int32_t>(slots_.size()); }

  // Writer: slots that can be filled before the reader has to take something.
  int32_t room() const {
    return capacity() - static_cast<int32_t>(written_ - released_.load(std::memory_order_seq_cst));
  }
  // Writer: the next slot, its event reset and its text and top empty. REQUIRES: room() > 0.
  EventSlot& Begin();
  // Writer: hands the slot that Begin() gave to the reader.
  void Commit();

  // Reader: the next event; its views are valid until the next Pop. False when there is none.
  bool Pop(OutputEvent* event);
  // Reader: every event written so far was popped.
  bool drained() const { return popped_ == published_.load(std::memory_order_acquire); }
  // Reader: room as the writer would see it.
  int32_t reader_room() const {
    return capacity() - static_cast<int32_t>(published_.load(std::memory_order_acquire) -
                                             released_.load(std::memory_order_relaxed));
  }

 private:
  EventSlot& SlotAt(uint64_t number) { return slots_[number % slots_.size()]; }

  std::vector<EventSlot> slots_;
  uint64_t written_ = 0;                // writer's
  uint64_t popped_ = 0;                 // reader's
  std::atomic<uint64_t> published_{0};  // events the reader may pop
  std::atomic<uint64_t> released_{0};   // events whose slots may be written again
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_EVENT_RING_H_
