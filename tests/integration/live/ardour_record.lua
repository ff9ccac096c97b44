-- Has Ardour, without its window, record on a track "Rec" on JACK until the file DONE appears. Arguments: the session's folder.
-- Says in the file READY when it records. Exit code 3: Ardour did not start, before anything was to be recorded.
local folder = arg[1]
local function exists (name)
  local file = io.open (folder .. "/" .. name)
  if file then file:close () end
  return file ~= nil
end
local function wait (seconds, is_so)
  for _ = 1, seconds * 20 do
    if is_so () then return true end
    ARDOUR.LuaAPI.usleep (50000)
  end
  return false
end

if not exists ("take.ardour") then
  AudioEngine:set_backend ("None (Dummy)", "", "")
  local session = create_session (folder, "take", 48000)
  if not session then os.exit (3) end
  local one = ARDOUR.ChanCount (ARDOUR.DataType ("midi"), 1)
  session:new_midi_track (one, one, true, ARDOUR.PluginInfo (), nil, nil, 1, "Rec",
    ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)
  session:save_state ("", false, false, false, false, false)
  close_session ()
  os.exit (0)
end

AudioEngine:set_backend ("JACK", "ardour", "")
local session = load_session (folder, "take")
if not session then os.exit (3) end
session:route_by_name ("Rec"):to_track ():rec_enable_control ():set_value (1, PBD.GroupControlDisposition.NoGroup)
session:maybe_enable_record ()
session:request_roll (ARDOUR.TransportRequestSource.TRS_UI)
if not wait (5, function () return session:actively_recording () end) then
  close_session ()
  os.exit (3)
end
io.open (folder .. "/READY", "w"):close ()
wait (120, function () return exists ("DONE") end)
session:request_stop (false, false, ARDOUR.TransportRequestSource.TRS_UI)
ARDOUR.LuaAPI.usleep (500000)  -- it writes what it recorded
session:save_state ("", false, false, false, false, false)
close_session ()
