#include "engine/schedule/request.h"

#include <algorithm>
#include <utility>

#include "engine/schedule/block_manager.h"
#include "engine/schedule/sampler.h"

namespace mneme::schedule {
namespace {

// Events that a reader may lag behind before its request pauses. At 1,500 tokens a second this is
// some 40 ms, several round trips of a local reader.
constexpr int32_t kRingEvents = 64;
// Text of most tokens; see EventRing for what happens to longer ones.
constexpr int32_t kTokenTextBytes = 64;

int32_t RingCapacity(const GenerateRequest& params) { return kRingEvents + 2 * params.n; }

int32_t TextBytes(const GenerateRequest& params) {
  if (!params.text) return 0;
  size_t longest_stop = 0;
  for (const std::string& stop : params.stop) longest_stop = std::max(longest_stop, stop.size());
  return kTokenTextBytes + static_cast<int32_t>(longest_stop);
}

int32_t TopCount(const GenerateRequest& params) {
  return std::max(params.logprobs.value_or(0), params.prompt_logprobs.value_or(0));
}

}  // namespace

Choice::Choice(Request* owner, int32_t choice_index, ChoiceText choice_text)
    : request(owner), index(choice_index), text(std::move(choice_text)) {}

bool Choice::EchoPending() const { return request->params.echo && echoed < request->prompt_tokens; }

std::span<const int32_t> Choice::TokensOfBlock(int32_t block, int32_t block_tokens) const {
  return {tokens.data() + static_cast<size_t>(block) * static_cast<size_t>(block_tokens),
          static_cast<size_t>(block_tokens)};
}

uint64_t Choice::HashOf(int32_t block, int32_t block_tokens) {
  while (hashes.size() <= static_cast<size_t>(block)) {
    const uint64_t parent = hashes.empty() ? 0 : hashes.back();
    hashes.push_back(
        HashBlock(parent, TokensOfBlock(static_cast<int32_t>(hashes.size()), block_tokens)));
  }
  return hashes[static_cast<size_t>(block)];
}

Request::Request(ResolvedRequest resolved, int32_t block_tokens, const TextStreamFactory& streams,
                 EventListener* listener, std::shared_ptr<Doorbell> schedule_doorbell)
    : params(std::move(resolved.params)),
      prompt_tokens(static_cast<int32_t>(params.prompt.size())),
      max_tokens(resolved.max_tokens),
      seed(resolved.seed),
      stop_ids(std::move(resolved.stop_ids)),
      suppressed_ids(std::move(resolved.suppressed_ids)),
      shared_blocks((prompt_tokens - 1) / block_tokens),
      ring(RingCapacity(params), TextBytes(params), TopCount(params)),
      gate(listener),
      doorbell(std::move(schedule_doorbell)),
      unfinished(params.n) {
  usage.prompt_tokens = prompt_tokens;
  usage.seed = seed;
  prompt_ready = shared_blocks == 0 && (!params.prompt_logprobs || prompt_tokens == 1);
  const size_t most_tokens = static_cast<size_t>(prompt_tokens) + static_cast<size_t>(max_tokens);
  const size_t most_blocks = most_tokens / static_cast<size_t>(block_tokens) + 1;
  const bool decodes = streams && (params.text || !params.stop.empty());
  for (int32_t i = 0; i < params.n; ++i) {
    std::unique_ptr<TextStream> stream;
    if (decodes) {
      stream = streams(params.skip_special_tokens);
      // An echoed prompt is the beginning of the text; otherwise the text goes on behind it.
      stream->Reset(params.echo ? std::span<const int32_t>() : std::span(params.prompt));
    }
    auto choice = std::make_unique<Choice>(
        this, i, ChoiceText(std::move(stream), params.stop, params.include_stop_str_in_output));
    choice->tokens.reserve(most_tokens);
    choice->tokens.assign(params.prompt.begin(), params.prompt.end());
    choice->blocks.reserve(most_blocks);
    choice->hashes.reserve(most_blocks);
    if (i == 0) {
      // On this thread, so that the schedule's has them at hand.
      if (prompt_tokens >= block_tokens)
        choice->HashOf(prompt_tokens / block_tokens - 1, block_tokens);
    } else {
      choice->hashes = choices[0]->hashes;
      choice->hashes.reserve(most_blocks);
    }
    if (HasPenalties(params.sampling)) {
      choice->counts.emplace(params.prompt, static_cast<int32_t>(most_tokens));
    }
    if (choice->text.searches())
      choice->pending_text.reserve(static_cast<size_t>(TextBytes(params)));
    choices.push_back(std::move(choice));
  }
}

bool Request::Pause(Clock::time_point now) {
  paused_since = now;
  paused.store(true, std::memory_order_seq_cst);
  // The reader may have made room before it could see the flag.
  if (Room() <= 0) return true;
  paused.store(false, std::memory_order_seq_cst);
  return false;
}

}  // namespace mneme::schedule
