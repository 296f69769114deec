// The engine's events as replies of the wire: one reply carries whatever waits when it is written.
#ifndef MNEME_SERVER_REPLY_H_
#define MNEME_SERVER_REPLY_H_

#include <array>
#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "loader/tokenizer/tokenizer.h"
#include "proto/mneme/v1/generation.pb.h"

namespace mneme::server {

inline constexpr int kMaxChoices = 64;

// Fills replies of one request. For one thread at a time.
class ReplyWriter {
 public:
  // tokenizer may be null: log-probabilities then have no text. with_logprobs: every token of a
  // delta has an entry in its logprobs, also one whose probability was not asked for (of the
  // prompt, under echo): that one has a token id and text only.
  ReplyWriter(std::string request_id, const loader::Tokenizer* tokenizer, bool with_logprobs);

  // Clears *reply and moves the waiting events into it, up to a bound that keeps a reply far below
  // the wire's message limit. True: it carries at least one. Reusing one reply, this allocates
  // nothing but text in steady state.
  bool Fill(Generation* generation, v1::GenerateReply* reply);

  // How the choices ended, e.g. "stop" or "stop|length"; "-" while none has.
  std::string FinishSummary() const;

 private:
  v1::ChoiceDelta* DeltaOf(int32_t choice, v1::GenerateReply* reply);
  void AddToken(const OutputEvent& event, v1::GenerateReply* reply);
  void AddFinish(const OutputEvent& event, v1::GenerateReply* reply);
  void FillLogprobs(const OutputEvent& event, v1::PositionLogprobs* out) const;
  void FillTokenLogprob(int32_t token_id, float logprob, v1::TokenLogprob* out) const;

  const std::string request_id_;
  const loader::Tokenizer* const tokenizer_;
  const bool with_logprobs_;
  // By choice: its delta's place in the reply being filled, or -1.
  std::array<int16_t, kMaxChoices> delta_of_choice_;
  // By FinishReason: some choice ended so.
  std::array<bool, 5> finishes_{};
};

v1::FinishReason ToProto(FinishReason reason);
const char* FinishReasonName(FinishReason reason);  // "stop", "length", "cancelled", "error", "-"

void ToProto(const RequestUsage& usage, v1::Usage* out);
// Classes without bytes are left out.
void ToProto(const kernels::Traffic& traffic, v1::Traffic* out);
void ToProto(const EngineStats& stats, v1::GetStatsReply* out);

}  // namespace mneme::server

#endif  // MNEME_SERVER_REPLY_H_
