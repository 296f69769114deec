#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

runtime::StepLimits Limits() {
  runtime::StepLimits limits;
  limits.max_tokens = 32;
  limits.max_sequences = 4;
  limits.max_logit_rows = 8;
  limits.max_positions = 128;
  limits.kv_blocks = 8;
  limits.kv_block_tokens = 16;
  return limits;
}

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() { Use(Limits(), {}); }

  void Use(const runtime::StepLimits& limits, const ScheduleOptions& options) {
    limits_ = limits;
    scheduler_ = std::make_unique<Scheduler>(limits, options);
    step_ = std::make_unique<runtime::Step>(limits);
  }

  Request* Add(int32_t prompt, int32_t max_tokens, GenerateRequest params = {}) {
    params.prompt.assign(static_cast<size_t>(prompt), 0);
    // Different prompts, so that the prefix cache finds nothing by accident.
    for (int32_t& token : params.prompt) token = next_token_++;
    ResolvedRequest resolved{std::move(params), max_tokens, 0, {}};
    requests_.push_back(std::make_shared<Request>(std::move(resolved), limits_.kv_block_tokens,
                                                  TextStreamFactory(), nullptr,
                                                  std::make_shared<Doorbell>()));
    for (const auto& choice : requests_.back()->choices) {
      choice->ticket = next_ticket_++;
      scheduler_->Add(choice.get());
    }
    return requests_.back().get();
  }

  // Composes and runs one step; every span that has a row to draw from gets a token.
  const std::vector<ScheduledSpan>& RunStep(int milliseconds = 0) {
    now_ += std::chrono::milliseconds(milliseconds);
    step_->Clear();
    spans_.clear();
    scheduler_->Compose(now_, step_.get(), &spans_);
    for (const ScheduledSpan& span : spans_) {
      scheduler_->Advance(span);
      span.choice->request->promised -= span.promised;
      if (span.sample_row >= 0) span.choice->tokens.push_back(next_token_++);
    }
    return spans_;
  }

  int32_t RowsOf(const Request* request) const {
    int32_t rows = 0;
    for (const ScheduledSpan& span : spans_)
      rows += span.choice->request == request ? span.rows : 0;
    return rows;
  }

  runtime::StepLimits limits_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<runtime::Step> step_;
  std::vector<std::shared_ptr<Request>> requests_;
  std::vector<ScheduledSpan> spans_;
  Clock::time_point now_ = Clock::time_point{} + std::chrono::hours(1);
  uint64_t next_ticket_ = 0;
  int32_t next_token_ = 0;
};

TEST_F(SchedulerTest, ALongPromptIsCutIntoStepsOfTheBudget) {
  Request* request = Add(70, 5);
  EXPECT_EQ(RunStep().size(), 1u);
  EXPECT_EQ(RowsOf(request), 32);
  EXPECT_EQ(spans_[0].sample_row, -1);
  EXPECT_EQ(step_->block_changes().size(), 5u) << "all of the prompt's blocks";
  RunStep();
  EXPECT_EQ(RowsOf(request), 32);
  EXPECT_TRUE(step_->block_changes().empty());
  RunStep();
  EXPECT_EQ(RowsOf(request), 6);
  EXPECT_EQ(spans_[0].sample_row, 0);
  EXPECT_EQ(step_->logit_rows()[0], 5);
  RunStep();
  EXPECT_EQ(RowsOf(request), 1);
  EXPECT_EQ(step_->spans()[0].first_position, 70);
}

TEST_F(SchedulerTest, PrefillJoinsDecodesUpToItsChunk) {
  ScheduleOptions options;
  options.prefill_chunk = 10;
  Use(Limits(), options);
  Request* first = Add(5, 50);
  RunStep();
  Request* second = Add(40, 5);
  RunStep();
  EXPECT_EQ(RowsOf(first), 1);
  EXPECT_EQ(RowsOf(second), 10);
}

TEST_F(SchedulerTest, ChoicesAreAdmittedInOrderAndNobodyOvertakes) {
  Request* big = Add(100, 5);   // 7 of 8 blocks
  Request* large = Add(60, 5);  // 4 blocks: has to wait
  Request* small = Add(3, 5);   // would fit, but came later
  for (int i = 0; i < 6; ++i) RunStep();
  EXPECT_EQ(big->running, 1);
  EXPECT_EQ(large->running, 0);
  EXPECT_EQ(small->running, 0);
  scheduler_->Finish(big->choices[0].get());
  RunStep();
  EXPECT_EQ(large->running, 1);
  for (int i = 0; i < 2; ++i) RunStep();
  EXPECT_EQ(small->running, 1);
  EXPECT_EQ(scheduler_->running_requests(), 2);
}

TEST_F(SchedulerTest, TheYoungestIsPreemptedAndComputedAgainWithItsOutput) {
  Request* old = Add(48, 60);
  Request* young = Add(62, 60);
  for (int i = 0; i < 5; ++i) RunStep();
  // Both decode; 3 + 1 and 4 + 1 blocks of 8 are needed soon: the old one needs its fourth now,
  // the young one its fifth.
  for (int i = 0; i < 20 && young->usage.preemptions == 0; ++i) RunStep();
  EXPECT_EQ(old->usage.preemptions, 0);
  EXPECT_EQ(young->usage.preemptions, 1);
  EXPECT_EQ(scheduler_->preemptions(), 1);
  Choice* choice = young->choices[0].get();
  EXPECT_EQ(choice->state, ChoiceState::kWaiting);
  EXPECT_TRUE(choice->blocks.empty());
  const size_t kept = choice->tokens.size();
  EXPECT_GT(kept, 62u);
  scheduler_->Finish(old->choices[0].get());
  RunStep();
  EXPECT_EQ(choice->state, ChoiceState::kRunning);
  EXPECT_EQ(choice->tokens.size(), kept + (spans_[0].sample_row >= 0 ? 1 : 0));
}

TEST_F(SchedulerTest, APausedChoiceIsNotScheduledAndLosesItsBlocksFirst) {
  Request* old = Add(62, 60);
  Request* young = Add(40, 60);
  for (int i = 0; i < 5; ++i) RunStep();
  old->paused.store(true);
  RunStep();
  EXPECT_EQ(RowsOf(old), 0);
  EXPECT_EQ(RowsOf(young), 1);
  for (int i = 0; i < 40; ++i) RunStep();
  EXPECT_EQ(old->usage.preemptions, 1);
  EXPECT_EQ(young->usage.preemptions, 0);
  // It goes on once its reader has caught up and there is room.
  scheduler_->Finish(young->choices[0].get());
  old->paused.store(false);
  RunStep();
  EXPECT_GT(RowsOf(old), 0);
}

TEST_F(SchedulerTest, AWaitingChoiceTakesTheBlocksOfASlowReaderAfterAWhile) {
  Request* slow = Add(100, 20);
  Request* fast = Add(5, 50);
  for (int i = 0; i < 6; ++i) RunStep();
  slow->paused.store(true);
  slow->paused_since = now_;
  Request* waiting = Add(60, 5);
  RunStep();
  EXPECT_EQ(RowsOf(fast), 1);
  EXPECT_EQ(waiting->running, 0) << "a moment's delay costs nobody anything";
  RunStep(100);
  EXPECT_EQ(slow->usage.preemptions, 1);
  EXPECT_EQ(waiting->running, 1);
}

TEST_F(SchedulerTest, ASlowReaderNeverKeepsTheMachineIdle) {
  Request* slow = Add(100, 20);
  for (int i = 0; i < 6; ++i) RunStep();
  slow->paused.store(true);
  slow->paused_since = now_;
  Request* waiting = Add(60, 5);
  RunStep();
  EXPECT_EQ(waiting->running, 1);
}

TEST_F(SchedulerTest, LaterChoicesWaitForThePromptAndShareItsBlocks) {
  GenerateRequest params;
  params.n = 3;
  Request* request = Add(40, 5, params);
  RunStep();
  EXPECT_EQ(spans_.size(), 1u) << "32 of the prompt's 40 tokens; it needs two shared blocks";
  EXPECT_TRUE(request->prompt_ready);
  RunStep();
  ASSERT_EQ(spans_.size(), 3u);
  for (int i = 1; i < 3; ++i) {
    EXPECT_EQ(spans_[i].rows, 8);
    EXPECT_EQ(request->choices[i]->blocks[0], request->choices[0]->blocks[0]);
    EXPECT_EQ(request->choices[i]->blocks[1], request->choices[0]->blocks[1]);
    EXPECT_NE(request->choices[i]->blocks[2], request->choices[0]->blocks[2]);
  }
  EXPECT_EQ(scheduler_->free_blocks(), 8 - 2 - 3);
  for (const auto& choice : request->choices) scheduler_->Finish(choice.get());
  EXPECT_EQ(scheduler_->free_blocks(), 8);
}

TEST_F(SchedulerTest, PromptRowsAreBoundedByLogitRowsAndSkipTheCache) {
  GenerateRequest params;
  params.all_logits = true;
  Request* request = Add(20, 1, params);
  std::vector<int32_t> rows;
  while (request->prompt_rows_done < 20) {
    RunStep();
    ASSERT_EQ(spans_.size(), 1u);
    EXPECT_LE(step_->logit_rows().size(), 8u);
    EXPECT_EQ(spans_[0].logit_rows(), static_cast<int32_t>(step_->logit_rows().size()));
    rows.push_back(spans_[0].rows);
  }
  EXPECT_EQ(rows, (std::vector<int32_t>{8, 8, 4}));
  EXPECT_EQ(spans_[0].sample_row, 3) << "the last prompt row is drawn from, too";
  scheduler_->Finish(request->choices[0].get());

  // The same prompt again, all of whose full blocks are cached.
  next_token_ = 0;
  Request* again = Add(20, 1, params);
  RunStep();
  EXPECT_EQ(spans_[0].first_prompt_position, 0);
  EXPECT_EQ(again->usage.cached_tokens, 0);
}

TEST_F(SchedulerTest, PromptLogprobsNeverExceedTheRoomOfTheRing) {
  runtime::StepLimits limits = Limits();
  limits.max_tokens = 120;
  limits.max_logit_rows = 120;
  Use(limits, {});
  GenerateRequest params;
  params.prompt_logprobs = 0;
  Request* request = Add(120, 4, params);
  RunStep();
  // 66 slots, one for the end.
  EXPECT_EQ(RowsOf(request), 65);
  EXPECT_EQ(spans_[0].promised, 65);
}

// A ring with one slot left must let each of these go on, or pause it: else nobody would wake the
// schedule when the reader makes room.
TEST_F(SchedulerTest, OneSlotOfRoomIsEnoughToGoOn) {
  for (bool all_logits : {false, true}) {
    for (bool prompt_logprobs : {false, true}) {
      GenerateRequest params;
      params.all_logits = all_logits;
      if (prompt_logprobs) params.prompt_logprobs = 0;
      Request* request = Add(5, 3, params);
      // Never more than one slot.
      while (request->Room() > 1) {
        request->ring.Begin();
        request->ring.Commit();
      }
      int steps = 0;
      while (request->choices[0]->tokens.size() == 5) {
        ASSERT_EQ(RunStep().size(), 1u) << all_logits << prompt_logprobs << " after " << steps;
        ASSERT_LT(++steps, 10);
      }
      scheduler_->Finish(request->choices[0].get());
    }
  }
}

TEST_F(SchedulerTest, DistrustedBlocksAreNotFoundAgain) {
  Request* request = Add(40, 2);
  RunStep();
  RunStep();
  scheduler_->Distrust(request->choices[0].get());
  scheduler_->Finish(request->choices[0].get());
  next_token_ = 0;
  Request* again = Add(40, 2);
  RunStep();
  EXPECT_EQ(again->usage.cached_tokens, 0);
  RunStep();
  scheduler_->Finish(again->choices[0].get());
  next_token_ = 0;
  Request* third = Add(40, 2);
  RunStep();
  EXPECT_EQ(third->usage.cached_tokens, 32);
}

}  // namespace
}  // namespace mneme::schedule
