#include "server/generate_call.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace mneme::server {
namespace {

using Arena = google::protobuf::Arena;

// Texts up to this size are tokenized on gRPC's thread: well under a millisecond.
constexpr size_t kInlineTextBytes = 8 << 10;

// The engine calls the token ids "prompt"; the client sent them in another field.
absl::Status InFieldsOfTheWire(const absl::Status& status, const v1::GenerateRequest& request) {
  constexpr absl::string_view kEngineField = "prompt: ";
  absl::string_view message = status.message();
  if (!absl::ConsumePrefix(&message, kEngineField)) return status;
  const char* field = request.has_token_ids() ? "token_ids: " : "text: ";
  return absl::Status(status.code(), absl::StrCat(field, message));
}

double Milliseconds(double seconds) { return seconds * 1e3; }

}  // namespace

GenerateCall::GenerateCall(const CallContext& shared, const grpc::CallbackServerContext& context,
                           const grpc::ByteBuffer* request, std::string made_up_id)
    : shared_(shared),
      wire_request_(request),
      times_{.start = std::chrono::system_clock::now(), .deadline = context.deadline()},
      id_(std::move(made_up_id)),
      request_(Arena::CreateMessage<v1::GenerateRequest>(&arena_)),
      reply_(Arena::CreateMessage<v1::GenerateReply>(&arena_)) {}

void GenerateCall::Start() {
  const absl::Status status = Admit();
  if (!status.ok()) return Refuse(status);
  if (request_->text().size() > kInlineTextBytes) {
    const auto bytes = static_cast<int64_t>(request_->text().size());
    const absl::Status queued = shared_.worker->Run(bytes, [this] { Prepare(); });
    if (!queued.ok()) Refuse(absl::Status(queued.code(), absl::StrCat("text: ", queued.message())));
  } else {
    Prepare();
  }
}

absl::Status GenerateCall::Admit() {
  grpc::ByteBuffer bytes(*wire_request_);
  // First: what a server that is full does not take costs it nothing but the id in its log.
  if (absl::Status status = shared_.registry->Add(this); !status.ok()) {
    grpc::ProtoBufferReader reader(&bytes);
    if (std::string id = PeekRequestId(&reader); !id.empty()) id_ = std::move(id);
    return status;
  }
  registered_ = true;
  if (!grpc::SerializationTraits<v1::GenerateRequest>::Deserialize(&bytes, request_).ok()) {
    return NotA("mneme.v1.GenerateRequest");
  }
  absl::StatusOr<GenerateRequest> request = ToEngineRequest(*request_, shared_.defaults, id_);
  if (!request.ok()) return request.status();
  engine_request_ = *std::move(request);
  id_ = engine_request_.id;
  return absl::OkStatus();
}

void GenerateCall::Prepare() {
  const absl::Status status = Submit();
  if (!status.ok()) return Refuse(status);
  Action action;
  {
    const std::lock_guard lock(mutex_);
    busy_ = false;
    action = TakeAction();
  }
  Perform(action);
}

absl::Status GenerateCall::Wanted() {
  const std::lock_guard lock(mutex_);
  return peer_gone_ ? WhyGone(times_, gone_at_) : aborted_;
}

absl::Status GenerateCall::Submit() {
  // Before, because it may have waited for the worker; after, because a long text takes long.
  if (absl::Status status = Wanted(); !status.ok()) return status;
  absl::Status status =
      FillPrompt(*request_, shared_.engine->tokenizer(), shared_.limits, &engine_request_);
  if (status.ok()) status = Wanted();
  if (!status.ok()) return status;
  writer_ = std::make_unique<ReplyWriter>(id_, shared_.engine->tokenizer(),
                                          engine_request_.logprobs.has_value());
  // Not under the lock: the engine may already call OnEvents before it returns.
  absl::StatusOr<std::unique_ptr<Generation>> generation =
      shared_.engine->Generate(std::move(engine_request_), this);
  if (!generation.ok()) return InFieldsOfTheWire(generation.status(), *request_);
  bool unwanted;
  {
    const std::lock_guard lock(mutex_);
    generation_ = *std::move(generation);
    unwanted = peer_gone_ || !aborted_.ok();
  }
  if (unwanted) generation_->Cancel();
  return absl::OkStatus();
}

void GenerateCall::Refuse(const absl::Status& status) {
  {
    const std::lock_guard lock(mutex_);
    final_status_ = status;
  }
  Finish(ToGrpcStatus(status));
}

void GenerateCall::PeerIsGone() {
  if (!peer_gone_) gone_at_ = std::chrono::system_clock::now();
  peer_gone_ = true;
}

void GenerateCall::OnEvents() { Pump(); }

void GenerateCall::Pump() {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    action = TakeAction();
  }
  Perform(action);
}

GenerateCall::Action GenerateCall::TakeAction() {
  if (busy_ || generation_ == nullptr) return Action::kNothing;
  const Action action = NextAction();
  busy_ = action != Action::kNothing;
  return action;
}

void GenerateCall::Perform(Action action) {
  if (action == Action::kNothing) return;
  // Only this thread touches the call's reply now, until gRPC reports the operation done.
  if (action == Action::kFinish) return Finish(ToGrpcStatus(final_status_));
  bool own_buffer = false;
  wire_reply_.Clear();
  const grpc::Status serialized =
      grpc::SerializationTraits<v1::GenerateReply>::Serialize(*reply_, &wire_reply_, &own_buffer);
  if (!serialized.ok()) return Finish(serialized);
  if (action == Action::kWrite) return StartWrite(&wire_reply_);
  StartWriteAndFinish(&wire_reply_, grpc::WriteOptions(), ToGrpcStatus(final_status_));
}

GenerateCall::Action GenerateCall::NextAction() {
  bool any = writer_->Fill(generation_.get(), reply_);
  // Nobody reads any more: the events are dropped until the engine is through.
  while (peer_gone_ && any) any = writer_->Fill(generation_.get(), reply_);
  if (!generation_->done()) return any ? Action::kWrite : Action::kNothing;
  usage_ = generation_->usage();
  if (peer_gone_) {
    final_status_ = WhyGone(times_, gone_at_);
    return Action::kFinish;
  }
  final_status_ = aborted_.ok() ? generation_->status() : aborted_;
  reply_->set_request_id(id_);
  ToProto(usage_, reply_->mutable_usage());
  return Action::kWriteAndFinish;
}

void GenerateCall::OnWriteDone(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    busy_ = false;
    if (!ok) PeerIsGone();
  }
  if (!ok) generation_->Cancel();
  Pump();
}

void GenerateCall::OnCancel() {
  Generation* generation;
  {
    const std::lock_guard lock(mutex_);
    PeerIsGone();
    generation = generation_.get();
  }
  if (generation != nullptr) generation->Cancel();
  Pump();
}

void GenerateCall::Abort(const absl::Status& why) {
  Generation* generation;
  {
    const std::lock_guard lock(mutex_);
    if (aborted_.ok()) aborted_ = why;
    generation = generation_.get();
  }
  // The engine tells of the end by OnEvents, as of any other.
  if (generation != nullptr) generation->Cancel();
}

void GenerateCall::OnDone() {
  if (shared_.log != nullptr) Log();
  // First, for it waits for an Abort that is under way.
  if (registered_) shared_.registry->Remove(this);
  // Waits for an OnEvents that is still returning.
  generation_.reset();
  delete this;
}

void GenerateCall::Log() const {
  const double total =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const std::string id = absl::CHexEscape(id_);
  const std::string code = absl::StatusCodeToString(final_status_.code());
  if (generation_ == nullptr) {
    shared_.log->info("request id=\"{}\" refused status={} message=\"{}\" total_ms={:.2f}", id,
                      code, absl::CHexEscape(final_status_.message()), Milliseconds(total));
    return;
  }
  shared_.log->info(
      "request id=\"{}\" prompt_tokens={} cached_tokens={} output_tokens={} queue_ms={:.2f} "
      "prefill_ms={:.2f} decode_ms={:.2f} total_ms={:.2f} preemptions={} seed={} finish={} "
      "status={}{}",
      id, usage_.prompt_tokens, usage_.cached_tokens, usage_.output_tokens,
      Milliseconds(usage_.queue_seconds), Milliseconds(usage_.prefill_seconds),
      Milliseconds(usage_.decode_seconds), Milliseconds(total), usage_.preemptions, usage_.seed,
      writer_->FinishSummary(), code,
      final_status_.ok()
          ? ""
          : absl::StrCat(" message=\"", absl::CHexEscape(final_status_.message()), "\""));
}

}  // namespace mneme::server
