// HTTP as pulling a model needs it: several GET requests at once on one thread, redirects followed by hand, bodies
// handed on as they come. On libcurl, loaded with dlopen when the first session is made (linking it would slow every
// start).
//
// Redirects are followed here and not by libcurl because a token must never reach another host, https must never become
// http, and the hub's own answer names the hash of a file (X-Linked-Etag) before it redirects to where the bytes are.
// Proxies (http_proxy, https_proxy, all_proxy, no_proxy) and the certificates of the system are libcurl's business; the
// certificate of a server is always verified. No cookies, no .netrc, no compression.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fovea::hub {

// What a server said before the body. Names of headers are lower case.
struct Response {
  int64_t status = 0;
  std::map<std::string, std::string> headers;
  std::map<std::string, std::string> first_headers;  // of the answer before any redirect: the hub's own

  std::string Header(const std::string& name) const;
  std::string FirstHeader(const std::string& name) const;
};

// One GET request with its redirects: the fields above the line are set by the owner, those below by the session.
struct Exchange {
  std::string url;
  std::string token;                 // sent as "Authorization: Bearer" to the host of `url` alone
  std::vector<std::string> headers;  // more request headers, "Range: bytes=10-"
  // Called once, when the last answer's headers are there and before its body. Both may throw: the request ends and
  // `error` holds what was thrown.
  std::function<void(const Response&)> on_response;
  std::function<void(std::span<const uint8_t>)> on_body;
  // ----
  Response response;
  std::exception_ptr error;     // thrown by a callback, or a fault that no retry can cure (certificate, redirects)
  std::string broken;           // why the connection failed, "" when the answer came whole
  bool is_unreachable = false;  // with `broken`: no connection could be made at all
  int64_t retry_after_s = 0;    // as the server asks for
  std::string host;             // that gave the last answer, for messages: URLs may carry secrets
  bool is_elsewhere = false;    // a redirect has led away from the host of `url`
};

class HttpSession {
 public:
  struct Options {
    int64_t connect_timeout_ms = 20'000;
    int64_t stall_timeout_s = 30;  // without a byte
    int64_t most_redirects = 5;
  };
  // Throws kUnimplemented when libcurl is missing.
  explicit HttpSession(const Options& options);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  void Start(std::shared_ptr<Exchange> exchange);
  // Moves bytes for up to `wait_ms` and returns the exchanges that have ended meanwhile.
  std::vector<std::shared_ptr<Exchange>> Run(int wait_ms);
  // Drops what is on its way; no callback is called any more.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One component of a path or query, percent-encoded.
std::string UrlEscaped(std::string_view text);

// Takes "https://host[:port][/path]" and returns it without the slash at its end. Throws kInvalidArgument for anything
// else: another scheme, a user name, a query.
std::string CheckedEndpoint(const std::string& endpoint);

// Whether a secret may go there: over https, or without leaving this machine.
bool IsSafeForSecrets(const std::string& url);

// "7.88.1", "" when libcurl cannot be loaded.
std::string CurlVersion();

}  // namespace fovea::hub
