#include "engine/schedule/notifier.h"

#include <pthread.h>

#include <chrono>
#include <utility>

namespace mneme::schedule {

void ListenerGate::Close() {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  listener_ = nullptr;
}

Notifier::Notifier() : thread_([this] { Loop(); }) {
  pthread_setname_np(thread_.native_handle(), "mneme-notify");
}

Notifier::~Notifier() {
  stopping_.store(true);
  doorbell_.Ring();
  thread_.join();
}

void Notifier::Notify(ListenerGate* gate, const std::shared_ptr<void>& owner) {
  if (!gate->has_listener_ || gate->queued_.exchange(true)) return;
  gate->owner_ = owner;
  gate->next_ = queue_.load(std::memory_order_relaxed);
  while (!queue_.compare_exchange_weak(gate->next_, gate)) {
  }
  doorbell_.Ring();
}

void Notifier::Loop() {
  for (;;) {
    const uint32_t seen = doorbell_.rings();
    const bool stopping = stopping_.load();
    if (DeliverAll()) continue;
    if (stopping) return;
    // No spinning: the next events come a whole step later, and the cores have better work.
    doorbell_.Await(seen, std::chrono::microseconds(0));
  }
}

bool Notifier::DeliverAll() {
  ListenerGate* stack = queue_.exchange(nullptr);
  if (stack == nullptr) return false;
  ListenerGate* first = nullptr;
  while (stack != nullptr) {
    ListenerGate* next = stack->next_;
    stack->next_ = first;
    first = stack;
    stack = next;
  }
  while (first != nullptr) {
    ListenerGate* gate = first;
    first = gate->next_;
    const std::shared_ptr<void> owner = std::move(gate->owner_);
    // Cleared before the call: events written from now on queue the gate again.
    gate->queued_.store(false);
    const std::lock_guard<std::recursive_mutex> lock(gate->mutex_);
    if (gate->listener_ != nullptr) gate->listener_->OnEvents();
  }
  return true;
}

}  // namespace mneme::schedule
