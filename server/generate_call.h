// One Generate call: a reactor of gRPC's callback API on one side, a reader of the engine's events
// on the other.
//
// Invariants:
//  1. At most one write is in flight (busy_). While it is, events stay in the engine's bounded
//     ring; when it is done, all that waits goes into the next reply. A slow reader therefore holds
//     one reply and one ring, and its generation pauses when the ring is full.
//  2. Whoever sets busy_ starts exactly one gRPC operation, outside the lock. Once that operation
//     is the final one (Finish), busy_ stays set and nothing else is started. busy_ is set from the
//     beginning until Prepare() has done all else that it does: on the worker's thread nothing but
//     that keeps the call from its end, and so from its deletion.
//  3. The final operation is started when the engine is done with the generation, or when there
//     never was one. So a call always ends with the engine's usage known, also a cancelled one.
//  4. The engine is never called with mutex_ held, except for Pop and the other reader's methods.
//  5. generation_ is destroyed in OnDone only, which gRPC calls after every other reaction.
#ifndef MNEME_SERVER_GENERATE_CALL_H_
#define MNEME_SERVER_GENERATE_CALL_H_

#include <google/protobuf/arena.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.h"
#include "proto/mneme/v1/generation.pb.h"
#include "server/call_registry.h"
#include "server/call_status.h"
#include "server/reply.h"
#include "server/request.h"
#include "server/worker.h"
#include "spdlog/logger.h"

namespace mneme::server {

// What all calls of a server share. Not owned; outlives them.
struct CallContext {
  Engine* engine = nullptr;
  CallRegistry* registry = nullptr;
  Worker* worker = nullptr;
  spdlog::logger* log = nullptr;  // null: nothing is logged
  RequestLimits limits;
  RequestDefaults defaults;
};

// Created by the service for each call; deletes itself when gRPC is through with it.
class GenerateCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public EventListener,
                           public Abortable {
 public:
  // `request` lives as long as the call. made_up_id: the request's id if it brings none.
  GenerateCall(const CallContext& shared, const grpc::CallbackServerContext& context,
               const grpc::ByteBuffer* request, std::string made_up_id);

  // Parses, checks, tokenizes and queues the request. Long texts are tokenized by the worker.
  void Start();

  // EventListener; on the engine's notifier thread.
  void OnEvents() override;
  // Abortable. Ends the generation; the client gets `why`.
  void Abort(const absl::Status& why) override;
  // Reactions of gRPC.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  ~GenerateCall() override = default;

  absl::Status Admit();
  void Prepare();
  absl::Status Submit();
  // OK while somebody wants the result.
  absl::Status Wanted();
  // Ends a call that has no generation.
  void Refuse(const absl::Status& status);
  // Writes what waits, or finishes, if nothing is in flight.
  void Pump();
  // Fills reply_ and final_status_. Returns what is to be done. REQUIRES: mutex_ held, !busy_.
  enum class Action { kNothing, kWrite, kWriteAndFinish, kFinish };
  Action NextAction();
  // The next action, if nothing is in flight; busy_ is then set unless it is kNothing. REQUIRES:
  // mutex_ held.
  Action TakeAction();
  // Starts the operation. The call may be gone when this returns, also after kNothing.
  void Perform(Action action);
  // REQUIRES: mutex_ held.
  void PeerIsGone();
  void Log() const;

  const CallContext& shared_;
  const grpc::ByteBuffer* const wire_request_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const CallTimes times_;
  std::string id_;

  google::protobuf::Arena arena_;
  v1::GenerateRequest* const request_;
  v1::GenerateReply* const reply_;
  grpc::ByteBuffer wire_reply_;
  std::unique_ptr<ReplyWriter> writer_;
  bool registered_ = false;

  std::mutex mutex_;
  GenerateRequest engine_request_;
  std::unique_ptr<Generation> generation_;
  bool busy_ = true;
  bool peer_gone_ = false;  // cancelled, its deadline passed, or its connection broke
  std::chrono::system_clock::time_point gone_at_;
  absl::Status aborted_;  // not OK: the server ended it
  absl::Status final_status_;
  RequestUsage usage_;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_GENERATE_CALL_H_
