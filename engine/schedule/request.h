// A request under way and its choices. Made, with all its memory, on the caller's thread; then the
// schedule's thread owns everything but what is marked otherwise; the reader owns the ring's
// reading end and, once `finished` is set, sees status and usage.
#ifndef MNEME_ENGINE_SCHEDULE_REQUEST_H_
#define MNEME_ENGINE_SCHEDULE_REQUEST_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/schedule/choice_text.h"
#include "engine/schedule/doorbell.h"
#include "engine/schedule/event_ring.h"
#include "engine/schedule/notifier.h"
#include "engine/schedule/token_counts.h"

namespace mneme::schedule {

using Clock = std::chrono::steady_clock;

struct Request;

enum class ChoiceState : uint8_t {
  kWaiting,   // has no slot and no blocks: not begun, or preempted
  kRunning,   // has both
  kFinished,  // has neither and will not run again
};

// One continuation of the prompt: what the executor calls a sequence while it runs.
struct Choice {
  Request* request = nullptr;
  int32_t index = 0;
  ChoiceState state = ChoiceState::kWaiting;
  // Place in the order of arrival, by request and then by choice. Lower goes first.
  uint64_t ticket = 0;
  Choice* previous = nullptr;  // in the scheduler's list
  Choice* next = nullptr;

  std::vector<int32_t> tokens;  // prompt and output
  std::optional<TokenCounts> counts;
  ChoiceText text;
  std::string pending_text;  // decoded while stop strings were looked for, not sent yet

  // Set while running.
  int32_t slot = -1;            // the executor's number of the sequence
  int32_t computed = 0;         // tokens whose KV is computed
  std::vector<int32_t> blocks;  // block table
  int32_t sent_blocks = 0;      // entries the executor knows
  // Prefix cache: hashes of the full blocks so far, how many blocks are published, the last one's
  // serial. Nothing more is published once a block came from a sibling without a serial.
  std::vector<uint64_t> hashes;
  int32_t published = 0;
  uint64_t serial = 0;
  bool publishes = true;
  uint64_t composed = 0;  // the last of the scheduler's steps that it is in

  // How it ended, set with state kFinished.
  FinishReason finish = FinishReason::kNone;
  int32_t stop_token_id = -1;
  int32_t stop_string = -1;  // index into params.stop
  bool finish_written = false;
  bool finish_wanted = false;  // to be written once the prompt is echoed

  // Echo: tokens of the prompt written so far, and the list of choices that still echo.
  int32_t echoed = 0;
  bool echoing = false;
  Choice* next_echo = nullptr;

  Choice(Request* owner, int32_t choice_index, ChoiceText choice_text);
  bool EchoPending() const;
  std::span<const int32_t> TokensOfBlock(int32_t block, int32_t block_tokens) const;
  // Hash of full block `block`, which and the ones before it hold known tokens.
  uint64_t HashOf(int32_t block, int32_t block_tokens);
};

// What a request is resolved to after validation.
struct ResolvedRequest {
  GenerateRequest params;
  int32_t max_tokens = 0;
  uint64_t seed = 0;
  std::vector<int32_t> stop_ids;  // eos unless ignored, and stop ids; all < vocab_size
  // Not drawn before min_tokens: eos, ignored or not, and stop ids.
  std::vector<int32_t> suppressed_ids = {};
};

struct Request {
  Request(ResolvedRequest resolved, int32_t block_tokens, const TextStreamFactory& streams,
          EventListener* listener, std::shared_ptr<Doorbell> schedule_doorbell);

  const GenerateRequest params;
  const int32_t prompt_tokens;
  const int32_t max_tokens;
  const uint64_t seed;
  const std::vector<int32_t> stop_ids;
  const std::vector<int32_t> suppressed_ids;
  const int32_t shared_blocks;  // full blocks that every choice starts with
  const Clock::time_point submitted = Clock::now();

  // Any thread.
  std::atomic<bool> cancel{false};
  // The schedule waits for room in the ring. Set by the schedule, cleared by the reader when half
  // of the ring is free.
  std::atomic<bool> paused{false};
  // Everything is written; status and usage are valid.
  std::atomic<bool> finished{false};
  EventRing ring;
  ListenerGate gate;
  const std::shared_ptr<Doorbell> doorbell;

  std::vector<std::unique_ptr<Choice>> choices;
  int32_t unfinished;     // choices whose end is not written
  int32_t running = 0;    // choices in state kRunning
  int32_t promised = 0;   // events that the step under way will cause
  size_t live_index = 0;  // in the engine's list
  bool ending = false;    // cancelled or failed; its end is not written yet
  // The choices after the first may start: the blocks they share are computed.
  bool prompt_ready = false;
  int32_t prompt_rows_done = 0;  // prompt positions whose logits were delivered
  Clock::time_point paused_since{};
  Clock::time_point started{};  // first step submitted
  Clock::time_point first_token{};
  absl::Status status;
  RequestUsage usage;

  // Slots of the ring that may be filled now. One stays reserved for each choice's end.
  int32_t Room() const { return ring.room() - promised - unfinished; }
  // Stops scheduling this request until its reader has caught up. False when there is room again.
  bool Pause(Clock::time_point now);
  bool wants_prompt_rows() const { return params.all_logits || params.prompt_logprobs.has_value(); }
  // End of the prompt positions whose logits are wanted.
  int32_t prompt_rows_end() const {
    return params.all_logits ? prompt_tokens : wants_prompt_rows() ? prompt_tokens - 1 : 0;
  }
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_REQUEST_H_
