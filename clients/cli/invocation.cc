#include "clients/cli/invocation.h"

#include <unistd.h>

#include <iostream>

namespace mneme::cli {

bool Invocation::StandardErrorIsTerminal() const {
  return &err == &std::cerr && isatty(STDERR_FILENO) == 1;
}

int Fail(const Invocation& invocation, const std::string& verb, const absl::Status& status) {
  invocation.err << "mneme " << verb << ": " << absl::StatusCodeToString(status.code()) << ": "
                 << std::string(status.message()) << std::endl;
  return kExitFailed;
}

bool ParseFlags(const Invocation& invocation, FlagTable* flags, size_t max_positionals,
                int* exit_status) {
  const absl::Status status = flags->Parse(invocation.arguments);
  if (!status.ok()) {
    invocation.err << "mneme " << flags->verb() << ": " << std::string(status.message())
                   << std::endl;
    *exit_status = kExitUsage;
    return false;
  }
  if (flags->help_requested()) {
    invocation.out << flags->Help();
    *exit_status = 0;
    return false;
  }
  if (flags->positionals().size() > max_positionals) {
    invocation.err << "mneme " << flags->verb() << ": unexpected argument '"
                   << flags->positionals()[max_positionals] << "'" << std::endl;
    *exit_status = kExitUsage;
    return false;
  }
  return true;
}

}  // namespace mneme::cli
