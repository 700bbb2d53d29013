// A hub of our own for tests: the layout of Hugging Face's over plain sockets on this machine, with large files
// redirected to a second port (the "CDN"), a third port that acts as a proxy, a record of every request, and every
// fault a network can have.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/strings.h"
#include "hub/digest.h"

namespace fovea::hub {

class TestHub {
 public:
  struct File {
    std::string content;
    bool is_large = false;  // LFS: named by SHA-256, served by the CDN
  };
  // Faults of one file (or of the API, under the name "api"); each count is used up by as many answers.
  struct Faults {
    int breaks = 0, stalls = 0, corruptions = 0;
    int64_t break_after = 1000;         // bytes of the body
    std::vector<std::string> statuses;  // "500", "429\r\nRetry-After: 0": answered first, one a request
    std::string announced_length;       // instead of the true Content-Length
  };
  struct Request {
    std::string at;  // "hub", "cdn" or "proxy"
    std::string target;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string Header(const std::string& name) const {
      const auto found = headers.find(name);
      return found == headers.end() ? "" : found->second;
    }
  };

  explicit TestHub(std::string repo = "owner/model") : repo_(std::move(repo)) {
    for (const char* at : {"hub", "cdn", "proxy"}) Listen(at);
  }
  ~TestHub() {
    stops_ = true;
    for (const int fd : listeners_) ::shutdown(fd, SHUT_RDWR);
    for (std::thread& thread : acceptors_) thread.join();
    for (std::thread& thread : workers_) thread.join();
    for (const int fd : listeners_) ::close(fd);
  }

  std::string Endpoint() const { return "http://127.0.0.1:" + std::to_string(ports_.at("hub")); }
  std::string Proxy() const { return "http://127.0.0.1:" + std::to_string(ports_.at("proxy")); }

  // ---- what it holds and how it behaves; set before the first request, or with Change
  std::map<std::string, File> files;
  std::map<std::string, Faults> faults;
  std::string commit = std::string(40, 'a');
  nlohmann::json card = {{"license", "apache-2.0"}};
  std::string api_answer;     // instead of the true one
  std::string wanted_token;   // needed by every answer of the hub
  std::string error_code;     // X-Error-Code of a refusal
  std::string redirect_to;    // where large files are redirected, instead of the CDN
  bool states_hashes = true;  // in the list; ETags name them in any case
  bool states_etags = true;
  bool knows_ranges = true;
  int64_t pause_us = 0;  // after every 64 KiB

  void Change(const std::function<void()>& change) {
    const std::lock_guard<std::mutex> lock(mutex_);
    change();
  }
  std::vector<Request> Requests() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return requests_;
  }
  // Requests whose target holds `text`.
  std::vector<Request> RequestsFor(const std::string& text) {
    std::vector<Request> found;
    for (const Request& request : Requests()) {
      if (request.target.find(text) != std::string::npos) found.push_back(request);
    }
    return found;
  }
  int most_at_once() const { return most_at_once_; }

 private:
  void Listen(const std::string& at) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd, 64) != 0) std::abort();
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    ports_[at] = ntohs(address.sin_port);
    listeners_.push_back(fd);
    acceptors_.emplace_back([this, fd, at] {
      for (int client; (client = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        if (stops_) {
          ::close(client);
          return;
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        workers_.emplace_back([this, client, at] { Serve(client, at); });
      }
    });
  }

  static std::string ReadHead(int client) {
    timeval limit{.tv_sec = 5};
    ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    std::string head;
    for (char c; head.find("\r\n\r\n") == std::string::npos && ::recv(client, &c, 1, 0) == 1;) head += c;
    return head;
  }

  static Request Parse(const std::string& head, const std::string& at) {
    Request request{.at = at};
    const std::vector<std::string> lines = base::Split(head, '\n');
    const std::vector<std::string> words = base::Split(lines[0], ' ');
    if (words.size() > 1) request.target = words[1];
    for (size_t i = 1; i < lines.size(); ++i) {
      const size_t colon = lines[i].find(": ");
      if (colon == std::string::npos) continue;
      std::string value = lines[i].substr(colon + 2);
      if (value.ends_with('\r')) value.pop_back();
      request.headers[base::AsciiLower(lines[i].substr(0, colon))] = value;
    }
    return request;
  }

  static bool Send(int client, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return true;
  }

  void Serve(int client, const std::string& at) {
    const std::string head = ReadHead(client);
    if (!head.empty()) {
      Request request = Parse(head, at);
      Plan plan;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        requests_.push_back(request);
        plan = Answer(request);
      }
      const int now = ++at_once_;
      for (int most = most_at_once_; now > most && !most_at_once_.compare_exchange_weak(most, now);) {
      }
      SendPlan(client, plan);
    }
    ::shutdown(client, SHUT_WR);
    char rest[256];
    while (::recv(client, rest, sizeof(rest), MSG_DONTWAIT) > 0) {
    }
    ::close(client);
  }

  struct Plan {
    std::string head, body;
    int64_t stop_after = -1;
    bool stalls = false;
    int64_t pause_us = 0;
  };

  // Counts as ended before its last piece is sent, so that a client is never counted twice.
  void SendPlan(int client, const Plan& plan) {
    std::string_view body = plan.body;
    if (plan.stop_after >= 0) body = body.substr(0, static_cast<size_t>(plan.stop_after));
    constexpr size_t kPiece = 64 << 10;
    bool is_sent = body.size() <= kPiece;
    if (is_sent) --at_once_;
    bool is_open = Send(client, plan.head);
    for (; !body.empty() && !stops_ && is_open; body.remove_prefix(std::min(kPiece, body.size()))) {
      if (!is_sent && body.size() <= kPiece) {
        --at_once_;
        is_sent = true;
      }
      is_open = Send(client, body.substr(0, kPiece));
      if (plan.pause_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(plan.pause_us));
    }
    if (!is_sent) --at_once_;
    while (plan.stalls && !stops_ && is_open) {
      char c;
      if (::recv(client, &c, 1, MSG_DONTWAIT) == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  static Plan Status(const std::string& status, const std::string& headers = "", const std::string& body = "") {
    const size_t cut = status.find("\r\n");
    return {.head = "HTTP/1.1 " + status.substr(0, cut) + " X\r\n" +
                    (cut == std::string::npos ? "" : status.substr(cut + 2) + "\r\n") + headers +
                    "Connection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n",
            .body = body};
  }

  static std::string Sha256(const std::string& content) { return Digest(Digest::Kind::kSha256).Add(content).Hex(); }
  static std::string GitSha1(const std::string& content) {
    return Digest(Digest::Kind::kSha1)
        .Add("blob " + std::to_string(content.size()))
        .Add(std::string_view("\0", 1))
        .Add(content)
        .Hex();
  }

  std::string ApiAnswer() const {
    if (!api_answer.empty()) return api_answer;
    nlohmann::json siblings = nlohmann::json::array();
    for (const auto& [name, file] : files) {
      nlohmann::json sibling = {{"rfilename", name}};
      if (states_hashes) {
        sibling["size"] = file.content.size();
        sibling["blobId"] = file.is_large ? std::string(40, 'b') : GitSha1(file.content);
        if (file.is_large)
          sibling["lfs"] = {{"sha256", Sha256(file.content)}, {"size", file.content.size()}, {"pointerSize", 130}};
      }
      siblings.push_back(sibling);
    }
    return nlohmann::json{{"id", repo_}, {"sha", commit}, {"cardData", card}, {"siblings", siblings}}.dump();
  }

  // With the mutex held.
  Plan Answer(Request request) {
    std::string at = request.at, target = request.target;
    if (at == "proxy") {  // "http://hub.test/path": what this proxy "connects" to
      const size_t host = target.find("://") + 3, slash = target.find('/', host);
      at = target.substr(host, slash - host) == "cdn.test" ? "cdn" : "hub";
      target = target.substr(slash);
    }
    if (at == "hub" && !wanted_token.empty() && request.Header("authorization") != "Bearer " + wanted_token)
      return Status("401", error_code.empty() ? "" : "X-Error-Code: " + error_code + "\r\n", "no");
    const std::string path = target.substr(0, target.find('?'));
    if (path == "/api/models/" + repo_ || path.starts_with("/api/models/" + repo_ + "/revision/")) {
      Faults& fault = faults["api"];
      if (!fault.statuses.empty()) return NextStatus(fault);
      return Status("200", "Content-Type: application/json\r\n", ApiAnswer());
    }
    const std::string resolve = "/" + repo_ + "/resolve/" + commit + "/";
    const std::string name = path.starts_with(resolve)    ? path.substr(resolve.size())
                             : path.starts_with("/blob/") ? path.substr(6)
                                                          : "";
    const auto found = files.find(name);
    if (found == files.end()) return Status("404", "X-Error-Code: EntryNotFound\r\n", "nothing here");
    if (at == "hub" && found->second.is_large) {
      const std::string cdn =
          request.at == "proxy" ? "http://cdn.test" : "http://127.0.0.1:" + std::to_string(ports_.at("cdn"));
      return Status("302", "X-Linked-Etag: \"" + Sha256(found->second.content) + "\"\r\nLocation: " +
                               (redirect_to.empty() ? cdn + "/blob/" + name + "?signature=s3cret" : redirect_to) +
                               "\r\n");
    }
    return AnswerFile(name, found->second, request);
  }

  static Plan NextStatus(Faults& fault) {
    const std::string status = fault.statuses.front();
    fault.statuses.erase(fault.statuses.begin());
    return Status(status, "", "an error page");
  }

  Plan AnswerFile(const std::string& name, const File& file, const Request& request) {
    Faults& fault = faults[name];
    if (!fault.statuses.empty()) return NextStatus(fault);
    const std::string etag =
        "\"" + (file.is_large ? "cdn-" + Sha256(file.content).substr(0, 12) : GitSha1(file.content)) + "\"";
    size_t from = 0;
    const std::string range = request.Header("range"), condition = request.Header("if-range");
    if (knows_ranges && range.starts_with("bytes=") && (condition.empty() || condition == etag))
      from = std::stoul(range.substr(6));
    if (from > 0 && from >= file.content.size()) return Status("416");
    std::string body = file.content.substr(from);
    std::string length = std::to_string(body.size());
    if (!fault.announced_length.empty()) length = fault.announced_length;
    std::string head = from > 0 ? base::StrCat("HTTP/1.1 206 Partial\r\nContent-Range: bytes ", from, "-",
                                               file.content.size() - 1, "/", file.content.size(), "\r\n")
                                : "HTTP/1.1 200 OK\r\n";
    if (states_etags) head += "ETag: " + etag + "\r\n";
    head += "Connection: close\r\nContent-Length: " + length + "\r\n\r\n";
    Plan plan{.head = head, .body = body, .pause_us = pause_us};
    if (fault.corruptions > 0) {
      --fault.corruptions;
      plan.body[plan.body.size() / 2] ^= 1;
    } else if (fault.breaks > 0 || fault.stalls > 0) {
      plan.stalls = fault.breaks == 0;
      --(fault.breaks > 0 ? fault.breaks : fault.stalls);
      plan.stop_after = fault.break_after;
    }
    return plan;
  }

  std::string repo_;
  std::map<std::string, int> ports_;
  std::vector<int> listeners_;
  std::vector<std::thread> acceptors_, workers_;
  std::mutex mutex_;
  std::vector<Request> requests_;
  std::atomic<bool> stops_{false};
  std::atomic<int> at_once_{0}, most_at_once_{0};
};

}  // namespace fovea::hub
