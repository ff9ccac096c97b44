-- Runs a ReaScript on a stand-in for REAPER's functions: one MIDI take at 960 ticks a quarter that begins at quarter 8.
-- Arguments: the script, and the take's notes as "start end pitch" in ticks, one an argument.
local notes = {}
for index = 2, #arg do
  local from, to, pitch = arg[index]:match ("(%d+) (%d+) (%d+)")
  table.insert (notes, { tonumber (from), tonumber (to), tonumber (pitch) })
end

reaper = {
  ShowMessageBox = function (text) print ("SAID " .. text) end,
  GetSelectedMediaItem = function () return "item" end,
  GetActiveTake = function () return "take" end,
  TakeIsMIDI = function () return true end,
  MIDI_CountEvts = function () return true, #notes, 0, 0 end,
  MIDI_GetNote = function (_, index)
    local note = notes[index + 1]
    return true, false, false, note[1], note[2], 0, note[3], 80
  end,
  MIDI_GetProjQNFromPPQPos = function (_, ticks) return 8 + ticks / 960 end,
  MIDI_GetPPQPosFromProjQN = function (_, quarters) return (quarters - 8) * 960 end,
  MIDI_InsertNote = function (_, _, _, from, to, _, pitch, velocity)
    print (("NOTE %d %d %d %d"):format (math.floor (from + 0.5), math.floor (to + 0.5), pitch, velocity))
  end,
  MIDI_Sort = function () end,
  Undo_BeginBlock = function () end,
  Undo_EndBlock = function () end,
  ExecProcess = function (command)
    local pipe = io.popen (command .. " 2>&1")
    local said = pipe:read ("*a")
    local _, _, code = pipe:close ()
    return (code or 0) .. "\n" .. said
  end,
}

dofile (arg[1])
