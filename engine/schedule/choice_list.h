// A list of choices in the order of their tickets, linked through the choices themselves: nothing
// is allocated. A choice is in at most one list.
#ifndef MNEME_ENGINE_SCHEDULE_CHOICE_LIST_H_
#define MNEME_ENGINE_SCHEDULE_CHOICE_LIST_H_

#include <cstdint>

#include "engine/schedule/request.h"

namespace mneme::schedule {

class ChoiceList {
 public:
  Choice* first() const { return first_; }
  Choice* last() const { return last_; }
  int32_t size() const { return size_; }
  bool empty() const { return first_ == nullptr; }

  // Costs a step per choice behind it: new arrivals none, preempted ones as many as they overtake.
  void Insert(Choice* choice) {
    Choice* before = last_;
    while (before != nullptr && before->ticket > choice->ticket) before = before->previous;
    choice->previous = before;
    choice->next = before == nullptr ? first_ : before->next;
    (choice->next == nullptr ? last_ : choice->next->previous) = choice;
    (before == nullptr ? first_ : before->next) = choice;
    ++size_;
  }

  void Remove(Choice* choice) {
    (choice->previous == nullptr ? first_ : choice->previous->next) = choice->next;
    (choice->next == nullptr ? last_ : choice->next->previous) = choice->previous;
    choice->previous = nullptr;
    choice->next = nullptr;
    --size_;
  }

 private:
  Choice* first_ = nullptr;
  Choice* last_ = nullptr;
  int32_t size_ = 0;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_CHOICE_LIST_H_
