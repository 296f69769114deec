#include "server/text_call.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

// Texts and id lists up to this size are converted on gRPC's thread.
constexpr size_t kInlineBytes = 8 << 10;

}  // namespace

grpc::ServerUnaryReactor* TextCall::Start(const CallContext& shared, const Rpc& rpc,
                                          Answer answer) {
  auto* call = new TextCall(shared, rpc, std::move(answer));
  grpc::ServerUnaryReactor* reactor = call->reactor_;
  const absl::Status admitted = shared.registry->Add(call);
  if (!admitted.ok()) {
    call->End(admitted);
    return reactor;
  }
  call->registered_ = true;
  if (call->request_bytes_ > kInlineBytes) {
    const absl::Status queued =
        shared.worker->Run(static_cast<int64_t>(call->request_bytes_), [call] { call->Run(); });
    if (!queued.ok()) call->End(queued);
  } else {
    call->Run();
  }
  return reactor;
}

TextCall::TextCall(const CallContext& shared, const Rpc& rpc, Answer answer)
    : shared_(shared),
      rpc_(rpc),
      answer_(std::move(answer)),
      reactor_(rpc.context->DefaultReactor()),
      times_{.start = std::chrono::system_clock::now(), .deadline = rpc.context->deadline()},
      request_bytes_(rpc.request->Length()) {}

void TextCall::Abort(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  aborted_ = why;
}

absl::Status TextCall::StatusBefore() {
  if (rpc_.context->IsCancelled()) return WhyGone(times_, std::chrono::system_clock::now());
  const std::lock_guard lock(mutex_);
  return aborted_;
}

void TextCall::Run() {
  absl::Status status = StatusBefore();
  if (status.ok()) status = answer_(*rpc_.request, rpc_.reply);
  End(status);
}

void TextCall::End(const absl::Status& status) {
  if (shared_.log != nullptr) {
    const double total =
        std::chrono::duration<double>(std::chrono::system_clock::now() - times_.start).count();
    shared_.log->info(
        "{} request_bytes={} total_ms={:.2f} status={}{}", rpc_.name, request_bytes_, total * 1e3,
        absl::StatusCodeToString(status.code()),
        status.ok() ? "" : absl::StrCat(" message=\"", absl::CHexEscape(status.message()), "\""));
  }
  // Waits for an Abort that is under way.
  if (registered_) shared_.registry->Remove(this);
  reactor_->Finish(ToGrpcStatus(status));
  delete this;
}

}  // namespace mneme::server
