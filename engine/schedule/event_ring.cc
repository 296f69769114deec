#include "engine/schedule/event_ring.h"

#include <cassert>

namespace mneme::schedule {

EventRing::EventRing(int32_t capacity, int32_t text_bytes, int32_t top)
    : slots_(static_cast<size_t>(capacity)) {
  for (EventSlot& slot : slots_) {
    if (text_bytes > 0) slot.text.reserve(static_cast<size_t>(text_bytes));
    if (top > 0) slot.top.reserve(static_cast<size_t>(top));
  }
}

EventSlot& EventRing::Begin() {
  assert(room() > 0);
  EventSlot& slot = SlotAt(written_);
  slot.event = OutputEvent{};
  slot.text.clear();
  slot.top.clear();
  return slot;
}

void EventRing::Commit() {
  EventSlot& slot = SlotAt(written_);
  slot.event.text = slot.text;
  slot.event.top = slot.top;
  ++written_;
  published_.store(written_, std::memory_order_release);
}

bool EventRing::Pop(OutputEvent* event) {
  // The event of the previous Pop is no longer looked at. Sequentially consistent, because the
  // reader then looks whether the writer waits for room (see Request::paused).
  released_.store(popped_, std::memory_order_seq_cst);
  if (drained()) return false;
  *event = SlotAt(popped_).event;
  ++popped_;
  return true;
}

}  // namespace mneme::schedule
