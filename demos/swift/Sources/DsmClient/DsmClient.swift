import Foundation

/// What went wrong with a server.
public enum DsmError: Error, CustomStringConvertible {
    case address(String)
    case connection(String)
    case refused(Int, String)
    case stranger(String)

    public var description: String {
        switch self {
        case .address(let text):
            return "address is \(text) (expected http://HOST:PORT, https://HOST or unix:PATH)"
        case .connection(let reason): return "no connection: \(reason)"
        case .refused(let status, let reason): return "the server answered \(status): \(reason)"
        case .stranger(let what): return "what answers is no dsm-serve: \(what)"
        }
    }
}

/// A `dsm-serve` on this machine or another, asked by its OpenAI endpoints.
public struct DsmClient {
    let transport: Transport
    let key: String?

    /// address: `http://HOST:PORT`, `https://HOST`, or `unix:PATH` of a socket in the file system.
    /// key: what the server wants to be shown, if anything.
    public init(_ address: String, key: String? = nil) throws {
        self.key = key
        if address.hasPrefix("unix:"), address.count > 5 {
            transport = UnixTransport(path: String(address.dropFirst(5)))
        } else if let url = URL(string: address), url.host != nil,
            url.scheme == "http" || url.scheme == "https"
        {
            transport = WebTransport(base: url)
        } else {
            throw DsmError.address(address)
        }
    }

    /// The words of a sound file, as they become known: texts that are put one after the other.
    ///
    /// sound: the file's bytes, of any kind that the server reads. name: with its ending.
    public func transcribe(_ sound: Data, name: String) -> AsyncThrowingStream<String, Error> {
        let boundary = "dsm-\(UUID().uuidString)"
        var body = Data()
        for (field, value) in [("model", "whisper-1"), ("stream", "true")] {
            body += "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(field)\"\r\n\r\n"
            body += "\(value)\r\n"
        }
        let safe = name.filter { $0 != "\"" && !$0.isNewline }
        body += "--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; "
        body += "filename=\"\(safe)\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        body.append(sound)
        body += "\r\n--\(boundary)--\r\n"
        let type = "multipart/form-data; boundary=\(boundary)"
        let answer = post("/v1/audio/transcriptions", body, type: type)
        return AsyncThrowingStream { words in
            let reading = Task {
                do {
                    var events = Events()
                    for try await part in answer {
                        for text in try events.texts(part) { words.yield(text) }
                    }
                    try events.checkEnded()
                    words.finish()
                } catch {
                    words.finish(throwing: error)
                }
            }
            words.onTermination = { _ in reading.cancel() }
        }
    }

    /// A text as speech: the bytes of a WAV file.
    public func speak(_ text: String, voice: String? = nil) async throws -> Data {
        var asked = ["input": text, "response_format": "wav", "model": "tts-1"]
        asked["voice"] = voice
        let body = try JSONSerialization.data(withJSONObject: asked)
        var sound = Data()
        for try await part in post("/v1/audio/speech", body, type: "application/json") {
            sound.append(part)
        }
        return sound
    }

    private func post(_ path: String, _ body: Data, type: String)
        -> AsyncThrowingStream<Data, Error>
    {
        var headers = ["Content-Type": type]
        if let key { headers["Authorization"] = "Bearer \(key)" }
        return transport.post(path, headers: headers, body: body)
    }
}

/// Texts of a stream of events as OpenAI's transcriptions send it, in parts cut anywhere.
struct Events {
    private var line = Data()
    private var ended = false

    mutating func texts(_ part: Data) throws -> [String] {
        var found: [String] = []
        for byte in part {
            if byte != UInt8(ascii: "\n") {
                line.append(byte)
                continue
            }
            if let text = try take(line) { found.append(text) }
            line.removeAll()
        }
        return found
    }

    /// A connection that breaks off looks like one that is at its end.
    func checkEnded() throws {
        if !ended { throw DsmError.connection("the server has gone before the end") }
    }

    private mutating func take(_ line: Data) throws -> String? {
        let prefix = Data("data: ".utf8)
        guard line.starts(with: prefix) else { return nil }
        let data = line.dropFirst(prefix.count)
        guard let event = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
            return nil  // such as [DONE]
        }
        if let error = event["error"] as? [String: Any] {
            throw DsmError.refused(200, error["message"] as? String ?? "an error")
        }
        if event["type"] as? String == "transcript.text.done" { ended = true }
        return event["type"] as? String == "transcript.text.delta" ? event["delta"] as? String : nil
    }
}

/// The message of an answer that is an error.
func reason(_ body: Data) -> String {
    let json = try? JSONSerialization.jsonObject(with: body) as? [String: Any]
    let error = json?["error"] as? [String: Any]
    return error?["message"] as? String ?? String(decoding: body.prefix(200), as: UTF8.self)
}

func += (data: inout Data, text: String) {
    data.append(contentsOf: text.utf8)
}
